"""Record batches, byte by byte, well formed or not as a check wants them."""

import gzip
import struct
import time

import cramjam
import lz4.frame
import zstandard
from wire import Malformed, Reader, signed

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# A day ago: old enough to be told from the clock of an answer, not so old that retention takes it.
NOW = int(time.time()) // 60 * 60_000 - 86_400_000
TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ 0x82F63B78 if _byte & 1 else _byte >> 1
    TABLE.append(_byte)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


def pack(codec, data):
    if codec == "gzip":
        return gzip.compress(data, mtime=0)
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(data))
    if codec == "xerial":
        block = bytes(cramjam.snappy.compress_raw(data))
        return b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(block)) + block
    if codec == "lz4":
        return lz4.frame.compress(data)
    if codec == "zstd":
        return zstandard.compress(data)
    return data


def unpack(codec, data):
    if codec == 1:
        return gzip.decompress(data)
    if codec == 2 and data.startswith(b"\x82SNAPPY\0"):
        out, at = b"", 16
        while at < len(data):
            size = struct.unpack_from(">i", data, at)[0]
            out += bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size]))
            at += 4 + size
        return out
    if codec == 2:
        return bytes(cramjam.snappy.decompress_raw(data))
    if codec == 3:
        return lz4.frame.decompress(data)
    if codec == 4:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def record(offset_delta, key=b"key", value=b"value", headers=(), timestamp_delta=0):
    body = b"\0" + signed(timestamp_delta) + signed(offset_delta)
    for part in (key, value):
        body += signed(-1) if part is None else signed(len(part)) + part
    body += signed(len(headers))
    for name, content in headers:
        body += signed(len(name)) + name.encode() + (signed(-1) if content is None else signed(len(content)) + content)
    return signed(len(body)) + body


def batch(
    records=(b"value",), codec="none", timestamp=NOW, base_offset=0, leader_epoch=-1, magic=2, attributes=0, producer_id=-1,
    producer_epoch=-1, base_sequence=-1, count=None, last_offset_delta=None, crc=None, length=None, body=None, keys=None, step=1,
    packed=None, max_timestamp=None,
):
    """A batch of records with these values; every field can be set to something else than what is right."""
    if body is None:
        keys = keys if keys is not None else [b"key"] * len(records)
        body = b"".join(
            record(number, key, value, timestamp_delta=number * step) for number, (key, value) in enumerate(zip(keys, records))
        )
    amount = len(records) if count is None else count
    last = len(records) - 1 if last_offset_delta is None else last_offset_delta
    kind = attributes | {**CODECS, "xerial": 2}[codec]
    newest = timestamp + max(len(records) - 1, 0) * step if max_timestamp is None else max_timestamp
    tail = struct.pack(">hiqqqhii", kind, last, timestamp, newest, producer_id, producer_epoch, base_sequence, amount)
    tail += pack(codec, body) if packed is None else packed
    check = crc32c(tail) if crc is None else crc
    head = struct.pack(">ibI", leader_epoch, magic, check)
    size = len(head) + len(tail) if length is None else length
    return struct.pack(">qi", base_offset, size) + head + tail


FIELDS = (
    "baseOffset", "batchLength", "leaderEpoch", "magic", "crc", "attributes", "lastOffsetDelta", "baseTimestamp", "maxTimestamp",
    "producerId", "producerEpoch", "baseSequence", "count",
)


def read(data):
    """The batches of an answer, field by field, with their records; a cut one at the end is left out."""
    batches = []
    while len(data) >= 61:
        size = 12 + struct.unpack_from(">i", data, 8)[0]
        if size > len(data):
            break
        head = dict(zip(FIELDS, struct.unpack_from(">qiibIhiqqqhii", data)))
        assert head["crc"] == crc32c(data[21:size]), "the CRC of a batch is wrong"
        head["records"] = read_records(head, data[61:size])
        batches.append(head)
        data = data[size:]
    return batches


def read_records(head, packed):
    """A broker need not look into what it passes on, so that what it passes on need not be readable."""
    try:
        reader = Reader(unpack(head["attributes"] & 7, packed))
        return [read_record(reader) for _ in range(min(head["count"], 1000))]
    except (Malformed, OSError, EOFError, RuntimeError, zstandard.ZstdError, cramjam.DecompressionError):
        return "unreadable"


def read_record(reader):
    reader.signed()
    found = {"attributes": reader.number(">b"), "timestampDelta": reader.signed(), "offsetDelta": reader.signed()}
    for part in ("key", "value"):
        size = reader.signed()
        found[part] = None if size < 0 else reader.take(size).decode("latin-1")
    found["headers"] = []
    for _ in range(reader.signed()):
        name = reader.take(reader.signed()).decode()
        size = reader.signed()
        found["headers"].append([name, None if size < 0 else reader.take(size).decode("latin-1")])
    return found
