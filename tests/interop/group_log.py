"""What became of a classic group, as its records in `__consumer_offsets` tell it: who had what in each generation, and from which
offset on. The records are in order, so a commit is before a generation or behind it.
"""

import dataclasses
import struct

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

LOG = "__consumer_offsets"
COMMITS, GROUPS = (0, 1), 2


@dataclasses.dataclass
class Generation:
    """Who has a partition of the topic, by client id, and what was committed when the generation began."""

    number: int
    at_s: float
    owners: dict
    start: dict


class Fields:
    """Fields of a record, one behind the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind):
        value, = struct.unpack_from(f">{kind}", self.data, self.at)
        self.at += struct.calcsize(f">{kind}")
        return value

    def data_of(self, kind):
        size = self.number(kind)
        if size < 0:
            return None
        assert self.at + size <= len(self.data), "a field goes on behind its record"
        self.at += size
        return self.data[self.at - size:self.at]

    def string(self):
        text = self.data_of("h")
        return text if text is None else text.decode()


def partition_of(group, count):
    """Kafka's place of a group: by the absolute value of Java's hash of its name."""
    code = 0
    for each in group:
        code = (31 * code + ord(each)) & 0xFFFFFFFF
    signed = code - (1 << 32) if code >> 31 else code
    return (abs(signed) & 0x7FFFFFFF) % count


def records(broker, group):
    """All records of the partition that has the group: when, key, value."""
    count = len(AdminClient({"bootstrap.servers": broker}).list_topics(LOG, 20).topics[LOG].partitions)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "group-log", "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(LOG, partition_of(group, count), 0)])
    try:
        while (message := consumer.poll(20)) is not None:
            if not message.error():
                yield message.timestamp()[1] / 1000, message.key(), message.value()
            elif message.error().code() == KafkaError._PARTITION_EOF:
                return
        raise AssertionError(f"{LOG} is not readable to its end")
    finally:
        consumer.close()


def partitions(assignment, topic):
    """The partitions of a topic in an assignment of the `consumer` protocol."""
    if not assignment:
        return []
    fields = Fields(assignment)
    fields.number("h")
    shares = {}
    for _ in range(fields.number("i")):
        name = fields.string()
        shares[name] = [fields.number("i") for _ in range(fields.number("i"))]
    return shares.get(topic, [])


def owners(fields, topic):
    """Of a group's record, behind its version: generation, and client ids by partition. No partition has two owners."""
    fields.string()
    generation = fields.number("i")
    fields.string(), fields.string(), fields.number("q")
    found = {}
    for _ in range(fields.number("i")):
        fields.string(), fields.string()
        client = fields.string()
        fields.string(), fields.number("i"), fields.number("i"), fields.data_of("i")
        for partition in partitions(fields.data_of("i"), topic):
            assert partition not in found, f"generation {generation}: {found[partition]} and {client} both have partition {partition}"
            found[partition] = client
    return generation, found


def generations(broker, group, topic):
    """The generations of a group, in order."""
    committed, found = {}, []
    for at_s, key, value in records(broker, group):
        key = Fields(key)
        kind = key.number("h")
        if kind not in (*COMMITS, GROUPS) or key.string() != group:
            continue
        assert value is not None, "nothing of the group is deleted"
        value = Fields(value)
        version = value.number("h")
        if kind == GROUPS:
            assert version == 3, f"a group's record of version {version}"
            number, having = owners(value, topic)
            found.append(Generation(number, at_s, having, dict(committed)))
        elif key.string() == topic:
            partition, offset = key.number("i"), value.number("q")
            committed[partition] = offset
    return found
