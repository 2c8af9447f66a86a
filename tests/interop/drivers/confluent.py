"""confluent-kafka (librdkafka)."""

import sys
import time

import common
import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER = {"bootstrap.servers": sys.argv[1]}


def create(topic, partitions, configs):
    admin = AdminClient(BROKER)
    admin.create_topics([NewTopic(topic, partitions, 1, config=configs)])[topic].result(20)


def delete(topic):
    admin = AdminClient(BROKER)
    admin.delete_topics([topic])[topic].result(20)


def produce(topic, codec, acks, records):
    failures = []
    producer = Producer({
        **BROKER, "compression.type": codec, "acks": acks, "enable.idempotence": acks == "all", "message.max.bytes": 20_000_000,
        "message.timeout.ms": 20_000, "linger.ms": 2,
    })
    for each in records:
        extra = {"timestamp": each["timestamp"]} if each["timestamp"] else {}
        producer.produce(
            topic, key=each["key"], value=each["value"], partition=each["partition"], headers=[tuple(pair) for pair in each["headers"]],
            on_delivery=lambda error, _: error and failures.append(str(error)), **extra,
        )
    left = producer.flush(30)
    assert not left and not failures, f"{left} unanswered; {failures[:1]}"


def consumer():
    return Consumer({**BROKER, "group.id": "unused", "enable.auto.commit": False, "fetch.message.max.bytes": 20_000_000, "check.crcs": True})


def consume(topic, **wanted):
    reader = consumer()
    reader.assign([TopicPartition(topic, partition, offset) for partition, offset in wanted["from"]])
    seen, deadline = [], time.monotonic() + wanted["seconds"]
    while len(seen) < wanted["count"] and time.monotonic() < deadline:
        message = reader.poll(0.2)
        if message is None:
            continue
        assert not message.error(), str(message.error())
        seen.append({
            "partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1],
            "key": text(message.key()), "value": text(message.value()),
            "headers": [[name, text(value)] for name, value in message.headers() or []],
        })
    reader.close()
    return {"records": seen}


def text(raw):
    return None if raw is None else raw.decode()


def search(topic, partition, timestamp):
    reader = consumer()
    offset = reader.offsets_for_times([TopicPartition(topic, partition, timestamp)], 20)[0].offset
    reader.close()
    return {"offset": offset}


version = f"{confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"
common.run(
    {"name": "confluent-kafka", "version": version, "codecs": ["none", "gzip", "snappy", "lz4", "zstd"], "cannot": []},
    {"create": create, "delete": delete, "produce": produce, "consume": consume, "search": search},
)
