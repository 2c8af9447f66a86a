"""Frames, headers, versions, ApiVersions: rules A and C."""

import struct

from wire import Connection, keys, request, schemas, unsigned, versions


def advertised_ranges(side):
    """A1-A3, A8: every API that Millstream advertises has the range Kafka gives it."""
    names = {key: name for name, key in keys().items()}
    for key in side.advertised:
        found = side.ranges.get(key, range(0))
        side.keep(names[key], [found.start, found.stop - 1])


def missing_apis(side):
    """What only one of them advertises."""
    names = {key: name for name, key in keys().items()}
    side.keep("keys", {names[key]: "advertised" for key in sorted(side.ranges)})


def api_versions(side):
    """C2, C3, C4, A5, A6: the answer but for the ranges; a version that is too high; a client that says no proper name."""
    for version in side.versions("ApiVersions"):
        message = {"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1.0"}
        answer = side.quietly("ApiVersions", message, version)
        answer.pop("ApiKeys")
        for field in ("SupportedFeatures", "FinalizedFeatures"):
            answer[field] = {each.pop("Name"): each for each in answer.get(field, [])}
        answer["FinalizedFeaturesEpoch"] = answer.get("FinalizedFeaturesEpoch", -1) >= 0
        side.keep(f"version {version}", side.named(answer))
    for name, (software, number) in {
        "empty name": ("", "1"), "space": ("a b", "1"), "dash at the end": ("a-", "1"), "dots": ("a.b-c", "1.0-x"), "empty version": ("a", ""),
    }.items():
        answer = side.quietly("ApiVersions", {"ClientSoftwareName": software, "ClientSoftwareVersion": number}, 3)
        side.keep(name, {"ErrorCode": answer["ErrorCode"], "empty": not answer["ApiKeys"]})
    for version in (5, 100, 32767):
        side.raw(f"version {version} is too high", struct.pack(">ihhih", 11, 18, version, 7, -1) + b"\0")
    side.raw("version -1", struct.pack(">ihhih", 10, 18, -1, 7, -1))
    with Connection(side.address) as connection:
        connection.send(struct.pack(">ihhih", 11, 18, 99, 7, -1) + b"\0")
        connection.frame()
        answer = connection.ask("ApiVersions", 3, {"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"})
        side.keep("the connection goes on after version 99", answer["ErrorCode"])


def unknown(side):
    """C5: keys and versions nobody serves, bodies that cannot be read."""
    side.raw("key 1000", struct.pack(">ihhih", 10, 1000, 0, 7, -1))
    side.raw("key -1", struct.pack(">ihhih", 10, -1, 0, 7, -1))
    side.raw("a header that is cut", struct.pack(">ihh", 4, 3, 1))
    side.raw("an empty frame", struct.pack(">i", 0))
    side.raw("one byte", struct.pack(">i", 1) + b"\0")
    side.raw("a client id that is longer than the frame", struct.pack(">ihhih", 10, 3, 1, 7, 100))
    for api in side_apis(side):
        served = side.versions(api)
        schema = schemas()[keys()[api], "request"]
        for version in {served[0] - 1, served[-1] + 1} - set(served):
            if version < 0 or version in side.kafkas[keys()[api]] or version in (0, 1, 2) and api == "Produce":
                continue
            head = struct.pack(">hhih", keys()[api], version, 7, -1)
            head += b"\0" * (version in versions(schema["flexibleVersions"]))
            side.raw(f"{api} {version}", struct.pack(">i", len(head) + 40) + head + b"\0" * 40)
        version = served[-1]
        if api != "ApiVersions":
            flexible = version in versions(schema["flexibleVersions"])
            head = struct.pack(">hhih", keys()[api], version, 7, -1) + b"\0" * flexible + b"\xff" * 3
            side.raw(f"{api} {version} with a broken body", struct.pack(">i", len(head)) + head)


def side_apis(side):
    return [name for name, key in sorted(keys().items()) if key in side.advertised]


def lengths(side):
    """C7: lengths that cannot be."""
    for length in (-1, -(2**31), 104857601, 2**31 - 1):
        side.raw(f"length {length}", struct.pack(">i", length) + b"\0" * 64)


def produce_zero(side):
    """A1: Produce 0 to 2 are advertised and closed."""
    for version in (0, 1, 2):
        side.raw(f"Produce {version}", struct.pack(">ihhih", 24, 0, version, 7, -1) + b"\0\1\0\0\0\1\0\0\0\0\0\0\0\0")


def tags(side):
    """C8: tags nobody knows are skipped, in the header and in the body; trailing bytes."""
    names = [each for each in side.versions("Metadata") if each >= 9]
    for version in sorted({names[0], names[-1]}):
        plain = side.frame("Metadata", version, {"Topics": [], "AllowAutoTopicCreation": False})[4:]
        client = len("differential")
        header, body = plain[: 10 + client], plain[10 + client :]
        unknown_tags = unsigned(2) + unsigned(90) + unsigned(3) + b"abc" + unsigned(1000) + unsigned(0)
        for name, frame in {
            "in the header": header + unknown_tags + body[1:],
            "in the body": header + body[:-1] + unknown_tags,
            "out of order": header + body[:-1] + unsigned(2) + unsigned(90) + unsigned(0) + unsigned(80) + unsigned(0),
            "twice": header + body[:-1] + unsigned(2) + unsigned(90) + unsigned(0) + unsigned(90) + unsigned(0),
            "longer than the frame": header + body[:-1] + unsigned(1) + unsigned(90) + unsigned(100),
            "bytes behind the body": header + body + b"\0\0",
        }.items():
            with Connection(side.address, 3) as connection:
                connection.send(struct.pack(">i", len(frame)) + frame)
                try:
                    connection.frame()
                    side.keep(f"version {version}: {name}", "an answer")
                except EOFError:
                    side.keep(f"version {version}: {name}", "closed")


def order(side):
    """C6: answers come in the order of the requests, whatever takes how long."""
    side.topic("order")
    with Connection(side.address) as connection:
        slow = side.fetch("order", 0, **{"MaxWaitMs": 300})
        fetch = side.newest("Fetch")
        connection.send(request("Fetch", fetch, 1, slow) + request("Metadata", 1, 2, {"Topics": []}) + request("Fetch", fetch, 3, slow))
        side.keep("correlation ids", [struct.unpack(">i", connection.frame()[:4])[0] for _ in range(3)])
    with Connection(side.address) as connection:
        for byte in request("Metadata", 1, 9, {"Topics": []}):
            connection.send(bytes([byte]))
        side.keep("a frame byte by byte", struct.unpack(">i", connection.frame()[:4])[0])


def client_ids(side):
    """C1: no client id, an empty one, one of two bytes per letter."""
    for name, client in {"null": None, "empty": "", "letters": "ä" * 20}.items():
        side.keep(name, struct.unpack(">i", ask_raw(side, client))[0])


def ask_raw(side, client):
    with Connection(side.address) as connection:
        raw = client if client is None else client.encode().decode("latin-1")
        frame = side.frame("Metadata", 1, {"Topics": []}, raw) if raw is None or raw.isascii() else long_client(side, client)
        connection.send(frame)
        return connection.frame()[:4]


def long_client(side, client):
    plain = side.frame("Metadata", 1, {"Topics": []}, "")[4:]
    raw = client.encode()
    frame = plain[:8] + struct.pack(">h", len(raw)) + raw + plain[10:]
    return struct.pack(">i", len(frame)) + frame


RULES = [advertised_ranges, missing_apis, api_versions, unknown, lengths, produce_zero, tags, order, client_ids]
