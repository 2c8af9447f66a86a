"""Kafka's wire protocol, as Kafka's own jar describes it: the jar of its client holds a schema of every message, and this
reads and writes any message of any version by it. Nothing here comes from Millstream, so that it can judge it.

Always: a message is a dict with Kafka's field names; a field that the version does not have is left out; bytes that no field
explains are an error.
"""

import functools
import json
import pathlib
import re
import socket
import struct
import uuid
import zipfile

JARS = pathlib.Path(__file__).resolve().parents[2] / "target/env/kafka/libs"


class Malformed(Exception):
    """Bytes that are no message of the version."""


def versions(text):
    """`3-5`, `3+`, `3` or `none` as a closed range."""
    if text == "none":
        return range(0)
    low, _, high = text.rstrip("+").partition("-")
    return range(int(low), 32767 if text.endswith("+") else int(high or low) + 1)


@functools.cache
def schemas():
    """Schemas by (key, `request` or `response`)."""
    found = {}
    with zipfile.ZipFile(next(JARS.glob("kafka-clients-*.jar"))) as jar:
        for name in jar.namelist():
            if name.startswith("common/message/") and name.endswith(".json"):
                lines = jar.read(name).decode().splitlines()
                schema = json.loads("\n".join(re.sub(r"^\s*//.*", "", line) for line in lines))
                if schema["type"] in ("request", "response"):
                    schema["structs"] = {struct_["name"]: struct_ for struct_ in schema.get("commonStructs", [])}
                    found[schema["apiKey"], schema["type"]] = schema
    return found


@functools.cache
def keys():
    """API keys by name."""
    return {schema["name"].removesuffix("Request"): key for (key, kind), schema in schemas().items() if kind == "request"}


NUMBERS = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


class Codec:
    """How one version of one message is spoken."""

    def __init__(self, key, kind, version):
        self.schema = schemas()[key, kind]
        self.version = version
        self.flexible = version in versions(self.schema["flexibleVersions"])
        if version not in versions(self.schema["validVersions"]):
            raise ValueError(f"{self.schema['name']} has no version {version}")

    def present(self, field):
        return self.version in versions(field["versions"]) and not self.tagged(field)

    def tagged(self, field):
        return "tag" in field and self.version in versions(field["taggedVersions"])

    def fields_of(self, kind, field):
        return field.get("fields") or self.schema["structs"][kind]["fields"]

    def compact(self, field):
        return self.flexible and "flexibleVersions" not in field

    # Writing.

    def encode(self, message):
        return self.write_struct(self.schema["fields"], message)

    def write_struct(self, fields, message):
        unknown = set(message) - {field["name"] for field in fields}
        if unknown:
            raise ValueError(f"{self.schema['name']} has no field {sorted(unknown)}")
        out, tags = b"", []
        for field in fields:
            value = message.get(field["name"], Codec.default)
            if self.present(field):
                out += self.write(field["type"], field, self.default_of(field) if value is Codec.default else value)
            elif self.tagged(field) and value is not Codec.default:
                tags.append((field["tag"], self.write(field["type"], field, value)))
        if self.flexible:
            out += unsigned(len(tags))
            for tag, value in sorted(tags):
                out += unsigned(tag) + unsigned(len(value)) + value
        return out

    default = object()

    def default_of(self, field):
        kind, default = field["type"], field.get("default")
        if default == "null":
            return None
        if kind.startswith("[]"):
            return []
        if kind == "string":
            return default or ""
        if kind in ("bytes", "records"):
            return b""
        if kind == "uuid":
            return str(uuid.UUID(int=0))
        if kind == "bool":
            return str(default).lower() == "true"
        if kind == "float64":
            return float(default or 0)
        if kind in NUMBERS:
            return int(str(default or 0), 0)
        return {}

    def write(self, kind, field, value):
        if kind.startswith("[]"):
            if value is None:
                return unsigned(0) if self.compact(field) else struct.pack(">i", -1)
            head = unsigned(len(value) + 1) if self.compact(field) else struct.pack(">i", len(value))
            return head + b"".join(self.write(kind[2:], element(field), each) for each in value)
        if kind in NUMBERS:
            return struct.pack(NUMBERS[kind], value)
        if kind == "bool":
            return bytes([value])
        if kind == "uuid":
            return uuid.UUID(value).bytes
        if kind in ("string", "bytes", "records"):
            raw = value.encode() if isinstance(value, str) else value
            if self.compact(field):
                return unsigned(0) if raw is None else unsigned(len(raw) + 1) + raw
            form = ">h" if kind == "string" else ">i"
            return struct.pack(form, -1) if raw is None else struct.pack(form, len(raw)) + raw
        fields = self.fields_of(kind, field)
        if self.version in versions(field.get("nullableVersions", "none")):
            return b"\xff" if value is None else b"\x01" + self.write_struct(fields, value)
        return self.write_struct(fields, value)

    # Reading.

    def decode(self, data):
        reader = Reader(data)
        message = self.read_struct(self.schema["fields"], reader)
        if reader.rest():
            raise Malformed(f"{self.schema['name']} {self.version}: {reader.rest()} bytes too many")
        return message

    def read_struct(self, fields, reader):
        message = {}
        for field in fields:
            if self.present(field):
                message[field["name"]] = self.read(field["type"], field, reader)
        if self.flexible:
            for _ in range(reader.unsigned()):
                tag, size = reader.unsigned(), reader.unsigned()
                field = next((field for field in fields if self.tagged(field) and field["tag"] == tag), None)
                if field is None:
                    raise Malformed(f"{self.schema['name']} {self.version}: unknown tag {tag}")
                inner = Reader(reader.take(size))
                message[field["name"]] = self.read(field["type"], field, inner)
                if inner.rest():
                    raise Malformed(f"{self.schema['name']} {self.version}: tag {tag} is too long")
        return message

    def read(self, kind, field, reader):
        if kind.startswith("[]"):
            count = reader.unsigned() - 1 if self.compact(field) else reader.number(">i")
            return None if count < 0 else [self.read(kind[2:], element(field), reader) for _ in range(count)]
        if kind in NUMBERS:
            return reader.number(NUMBERS[kind])
        if kind == "bool":
            return bool(reader.number(">b"))
        if kind == "uuid":
            return str(uuid.UUID(bytes=reader.take(16)))
        if kind in ("string", "bytes", "records"):
            form = ">h" if kind == "string" else ">i"
            size = reader.unsigned() - 1 if self.compact(field) else reader.number(form)
            raw = None if size < 0 else reader.take(size)
            return raw.decode() if kind == "string" and raw is not None else raw
        if self.version in versions(field.get("nullableVersions", "none")) and reader.number(">b") < 0:
            return None
        return self.read_struct(self.fields_of(kind, field), reader)


def element(field):
    """What an element of an array is written as: like the array, but never null."""
    return {**field, "nullableVersions": "none"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def rest(self):
        return len(self.data) - self.at

    def take(self, size):
        if size > self.rest():
            raise Malformed(f"{size} bytes are announced, {self.rest()} are there")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def unsigned(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def signed(self):
        value = self.unsigned()
        return value >> 1 ^ -(value & 1)


def unsigned(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value):
    return unsigned(value << 1 if value >= 0 else (-value << 1) - 1)


def request(api, version, correlation_id, message, client_id="differential"):
    """A whole frame."""
    key = keys()[api]
    codec = Codec(key, "request", version)
    head = struct.pack(">hhi", key, version, correlation_id)
    head += struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id.encode()
    body = head + (b"\0" if codec.flexible else b"") + codec.encode(message)
    return struct.pack(">i", len(body)) + body


def answer(api, version, frame):
    """Correlation id and message of an answer's frame without its length."""
    key = keys()[api]
    codec = Codec(key, "response", version)
    reader = Reader(frame)
    correlation_id = reader.number(">i")
    if codec.flexible and api != "ApiVersions" and reader.unsigned() != 0:
        raise Malformed("tags in the header of an answer")
    return correlation_id, codec.decode(frame[reader.at :])


class Connection:
    """One connection to one broker."""

    def __init__(self, address, timeout=30):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the broker closed the connection")
            data += more
        return data

    def frame(self):
        """The next frame without its length; EOFError where the broker closed."""
        try:
            return self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except ConnectionResetError:
            raise EOFError("the broker closed the connection") from None

    def ask(self, api, version, message, client_id="differential"):
        self.correlation_id += 1
        self.send(request(api, version, self.correlation_id, message, client_id))
        correlation_id, read = answer(api, version, self.frame())
        if correlation_id != self.correlation_id:
            raise Malformed(f"the answer has correlation id {correlation_id}, not {self.correlation_id}")
        return read
