"""Record batches, appending and idempotence: rules R and P."""

import time

from records import CODECS, batch, record
from side import UNKNOWN
from wire import signed

HOUR = 3_600_000


def versions(side):
    """P4: an append and its second one in every version, with every codec."""
    for version in side.versions("Produce", 3):
        side.topic(f"append-{version}")
        for codec in CODECS:
            if codec != "zstd" or version >= 7:
                side.ask(f"version {version}: {codec}", "Produce", version, side.produce(f"append-{version}", batch((b"a", b"b"), codec)))
        side.ask(f"version {version}: acks 1", "Produce", version, side.produce(f"append-{version}", batch(), acks=1))
    if 6 in side.versions("Produce"):
        side.topic("zstd")
        side.ask("zstd by Produce 6", "Produce", 6, side.produce("zstd", batch(codec="zstd")))


def codecs(side):
    """R9: what was sent comes back untouched, xerial or raw."""
    side.topic("codecs")
    for codec in [*CODECS, "xerial"]:
        side.fill("codecs", batch((b"value " * 40, b"", None), codec, keys=(None, b"", b"key")))
    side.ask("read", "Fetch", side.newest("Fetch"), side.fetch("codecs"))


def acks(side):
    """P1: acks that do not exist; no answer to acks 0, whose errors close the connection."""
    side.topic("acks")
    version = side.newest("Produce")
    for number in (2, -2, 100):
        side.ask(f"acks {number}", "Produce", version, side.produce("acks", batch(), acks=number))
    for name, message in {
        "good": side.produce("acks", batch(), acks=0),
        "unknown partition": side.produce("acks", batch(), partition=9, acks=0),
        "bad batch": side.produce("acks", batch(crc=1), acks=0),
    }.items():
        side.raw(f"acks 0, {name}", side.frame("Produce", version, message), timeout=1)
    side.ask("what is there", "ListOffsets", side.newest("ListOffsets"), side.list_offsets("acks", -1))


def addresses(side):
    """P2: unknown topics, partitions and ids, beside a good one; nothing at all; internal topics."""
    side.topic("addressed", 2)
    for version in side.versions("Produce", 3):
        for name, message in {
            "unknown partition": side.produce("addressed", batch(), 2),
            "negative partition": side.produce("addressed", batch(), -1),
            "unknown topic": side.produce("addressed-no", batch(), topic_id=UNKNOWN),
        }.items():
            side.ask(f"version {version}: {name}", "Produce", version, message)
        both = side.produce("addressed", batch())
        both["TopicData"][0]["PartitionData"].append({"Index": 7, "Records": batch()})
        side.ask(f"version {version}: good and unknown", "Produce", version, both)
        side.ask(f"version {version}: nothing", "Produce", version, {**both, "TopicData": []})
    newest = side.newest("Produce")
    empty = side.produce("addressed", batch())
    empty["TopicData"][0]["PartitionData"] = []
    side.ask("a topic without partitions", "Produce", newest, empty)
    if newest >= 13:
        side.ask("zero id", "Produce", newest, side.produce("addressed", batch(), topic_id="00000000-0000-0000-0000-000000000000"))
    twice = side.produce("addressed", batch())
    twice["TopicData"][0]["PartitionData"] *= 2
    side.ask("a partition twice", "Produce", newest, twice)


def shapes(side):
    """R1-R3, R8: batches that are not what they should be."""
    side.topic("shapes")
    good = batch((b"a", b"b"))
    one = record(0)
    bad = {
        "null": None,
        "empty": b"",
        "two batches": good + good,
        "cut": good[:-1],
        "a byte more": good + b"\0",
        "sixty bytes": good[:60],
        "magic 0": batch(magic=0),
        "magic 1": batch(magic=1),
        "magic 3": batch(magic=3),
        "crc": batch(crc=12345),
        "base offset": batch(base_offset=7),
        "length too short": batch(length=40),
        "length too long": batch(length=4000),
        "length negative": batch(length=-1),
        "length zero": batch(length=0),
        "no records": batch((), count=0, last_offset_delta=-1, body=b""),
        "count below the records": batch((b"a", b"b"), count=1),
        "count above the records": batch((b"a", b"b"), count=3),
        "count and delta above the records": batch((b"a", b"b"), count=3, last_offset_delta=2),
        "count negative": batch(count=-1),
        "count huge": batch(count=2**31 - 1),
        "count and delta huge": batch(count=2**31 - 1, last_offset_delta=2**31 - 2),
        "delta": batch(last_offset_delta=4),
        "delta negative": batch(last_offset_delta=-1),
        "control": batch(attributes=32),
        "log append time": batch(attributes=8),
        "delete horizon": batch(attributes=64),
        "unknown attributes": batch(attributes=128),
        "codec 5": batch(attributes=5),
        "codec 7": batch(attributes=7),
        "not gzip": batch(codec="gzip", packed=b"not compressed"),
        "not snappy": batch(codec="snappy", packed=b"\xff" * 9),
        "not lz4": batch(codec="lz4", packed=b"not compressed"),
        "not zstd": batch(codec="zstd", packed=b"not compressed"),
        "sequence without producer": batch(base_sequence=0),
        "producer without sequence": batch(producer_id=5, producer_epoch=0),
        "producer without epoch": batch(producer_id=5, base_sequence=0),
        "record cut": batch(body=one[:-1], count=1),
        "record too long": batch(body=signed(100) + one[1:], count=1),
        "record with attributes": batch(body=one[:1] + b"\1" + one[2:], count=1),
        "record with another offset": batch(body=record(3), count=1),
        "bytes behind the records": batch(body=one + b"\0\0\0", count=1),
        "max timestamp below": batch(max_timestamp=5),
        "leader epoch": batch(leader_epoch=99),
    }
    for name, data in bad.items():
        for version in dict.fromkeys((7, side.newest("Produce"))):
            side.ask(f"version {version}: {name}", "Produce", version, side.produce("shapes", data))
    side.ask("what is there", "Fetch", side.newest("Fetch"), side.fetch("shapes"))


def compacted(side):
    """R5: a record without key is refused in a compacted topic, and told which one."""
    for policy in ("compact", "compact,delete"):
        topic = f"keys-{policy.replace(',', '-')}"
        side.topic(topic, configs={"cleanup.policy": policy})
        for version in (7, 8, side.newest("Produce")):
            for codec in ("none", "gzip", "zstd"):
                data = batch((b"a", b"b", b"c", b"d"), codec, keys=(b"k", None, b"k", None))
                side.ask(f"{policy}: version {version}: {codec}", "Produce", version, side.produce(topic, data))
        side.ask(f"{policy}: with keys", "Produce", side.newest("Produce"), side.produce(topic, batch((b"a",), keys=(b"",))))


def timestamps(side):
    """R6, R7: times that are too new or too old, and the broker's own time."""
    now = int(time.time() * 1000)
    side.topic("times")
    side.topic("times-narrow", configs={"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000"})
    side.topic("times-broker", configs={"message.timestamp.type": "LogAppendTime"})
    for version in (7, side.newest("Produce")):
        for topic in ("times", "times-narrow", "times-broker"):
            for name, timestamp in {
                "none": -1, "negative": -7, "zero": 0, "an hour ago": now - HOUR - 60_000, "now": now, "in half a minute": now + 30_000,
                "in two hours": now + 2 * HOUR,
            }.items():
                for codec in ("none", "lz4"):
                    data = batch((b"a", b"b"), codec, timestamp=timestamp, step=0)
                    step = f"version {version}: {topic}: {name}: {codec}"
                    answer = side.quietly("Produce", side.produce(topic, data), version)
                    side.keep(step, side.named(answer))
        part = batch((b"a", b"b"), timestamp=now, step=2 * HOUR)
        side.ask(f"version {version}: the second record is too new", "Produce", version, side.produce("times", part))
    read = side.quietly("Fetch", side.fetch("times-broker"))
    read = side.named(read)
    for each in read["Responses"][0]["Partitions"][0]["Records"]:
        each.pop("crc"), each.pop("baseTimestamp")
    side.keep("read with the broker's time", read)


def recompressed(side):
    """R9: a codec of the topic; the records are the same, whatever came."""
    for codec in ("uncompressed", "gzip", "snappy", "lz4", "zstd"):
        topic = f"recompressed-{codec}"
        side.topic(topic, configs={"compression.type": codec})
        for sent in CODECS:
            side.fill(topic, batch((b"value " * 50, b"other"), sent))
        read = side.named(side.quietly("Fetch", side.fetch(topic)))
        for each in read["Responses"][0]["Partitions"][0]["Records"]:
            each.pop("crc"), each.pop("batchLength")
        side.keep(codec, read)
    side.ask("zstd by Fetch 9", "Fetch", 9, side.fetch("recompressed-zstd"))


def sizes(side):
    """R3: the size limit of the topic, exact to the byte; batches above the segment."""
    limit = 1000
    side.topic("sized", configs={"max.message.bytes": str(limit)})
    side.topic("segments", configs={"segment.bytes": "1048576", "max.message.bytes": "3000000"})
    overhead = len(batch((b"x" * 600,))) - 600
    for version in (7, side.newest("Produce")):
        for size in (limit - 1, limit, limit + 1):
            side.ask(f"version {version}: {size} bytes", "Produce", version, side.produce("sized", batch((b"x" * (size - overhead),))))
        side.ask(f"version {version}: small once compressed", "Produce", version, side.produce("sized", batch((b"x" * 5000,), "gzip")))
        packed = batch((b"x" * 1_100_000,))
        side.ask(f"version {version}: above the segment", "Produce", version, side.produce("segments", packed))


def producer_ids(side):
    """P6: producer ids are fresh each time."""
    seen = set()
    for version in side.versions("InitProducerId"):
        for number in range(2):
            message = {"TransactionalId": None, "TransactionTimeoutMs": 60_000, "ProducerId": -1, "ProducerEpoch": -1}
            answer = side.ask(f"version {version}: {number}", "InitProducerId", version, message)
            side.keep(f"version {version}: {number} is new", answer["ProducerId"] not in seen)
            seen.add(answer["ProducerId"])
        for name, fields in {
            "no timeout": {"TransactionTimeoutMs": 0}, "empty transactional id": {"TransactionalId": ""},
        }.items():
            side.ask(f"version {version}: {name}", "InitProducerId", version, {"TransactionalId": None, "TransactionTimeoutMs": 60_000, **fields})
        if version >= 3:
            message = {"TransactionalId": None, "TransactionTimeoutMs": 60_000, "ProducerId": 5, "ProducerEpoch": 3}
            side.ask(f"version {version}: an id without transactions", "InitProducerId", version, message)
            message = {"TransactionalId": None, "TransactionTimeoutMs": 60_000, "ProducerId": 5, "ProducerEpoch": -1}
            side.ask(f"version {version}: an id without epoch", "InitProducerId", version, message)


def sequences(side):
    """P7, P8: duplicates, gaps, epochs, the wrap, and how far back a duplicate is known."""
    side.topic("sequences", 3)
    version = side.newest("Produce")
    steps = [
        ("first", 0, 0, 2), ("next", 0, 2, 3), ("duplicate of the last", 0, 2, 3), ("duplicate of the first", 0, 0, 2),
        ("gap", 0, 9, 1), ("part of a duplicate", 0, 3, 2), ("a duplicate that is longer", 0, 2, 4), ("back in the middle", 0, 1, 1),
        ("third", 0, 5, 1), ("fourth", 0, 6, 1), ("fifth", 0, 7, 1), ("sixth", 0, 8, 1), ("seventh", 0, 9, 1),
        ("a duplicate five back", 0, 5, 1), ("a duplicate six back", 0, 2, 3), ("a higher epoch not from zero", 1, 10, 1),
        ("a higher epoch", 1, 0, 1), ("an older epoch", 0, 10, 1), ("a duplicate of an older epoch", 0, 9, 1), ("goes on", 1, 1, 1),
        ("an epoch skipped", 5, 0, 1), ("goes on there", 5, 1, 1),
    ]
    for name, epoch, sequence, count in steps:
        data = batch([b"v"] * count, producer_id=4000, producer_epoch=epoch, base_sequence=sequence)
        side.ask(name, "Produce", version, side.produce("sequences", data))
    for name, sequence, count in [
        ("starts in the middle", 2**31 - 3, 2), ("wraps", 2**31 - 1, 2), ("behind the wrap", 1, 1), ("duplicate of the wrap", 2**31 - 1, 2),
    ]:
        data = batch([b"v"] * count, producer_id=4001, producer_epoch=0, base_sequence=sequence)
        side.ask(name, "Produce", version, side.produce("sequences", data, 1))
    side.ask("without a producer", "Produce", version, side.produce("sequences", batch(), 1))
    side.ask("read", "Fetch", side.newest("Fetch"), side.fetch("sequences"))


def transactional(side):
    """Transactional batches without a transaction."""
    side.topic("transactional")
    for version in dict.fromkeys((7, *side.versions("Produce", 10))):
        data = batch(producer_id=4100, producer_epoch=0, base_sequence=0, attributes=16)
        message = side.produce("transactional", data)
        side.ask(f"version {version}: no transactional id", "Produce", version, message)
        side.ask(f"version {version}: unknown transactional id", "Produce", version, {**message, "TransactionalId": "nobody"})
        plain = {**side.produce("transactional", batch()), "TransactionalId": "nobody"}
        side.ask(f"version {version}: an id with a plain batch", "Produce", version, plain)


def internal(side):
    """P2: topics of the broker itself."""
    for name in ("__consumer_offsets", "__transaction_state"):
        for version in (7, 9):
            side.ask(f"{name}: version {version}", "Produce", version, side.produce(name, batch()))


RULES = [
    versions, codecs, acks, addresses, shapes, compacted, timestamps, recompressed, sizes, producer_ids, sequences, transactional, internal,
]
