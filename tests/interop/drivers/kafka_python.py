"""kafka-python, 3.x and 2.3."""

import sys
import time

import common
import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

BROKER = sys.argv[1]
LARGE = 20_000_000
ROOM = {name: 4 * LARGE for name in ("buffer_memory",) if name in KafkaProducer.DEFAULT_CONFIG}


def admin():
    return KafkaAdminClient(bootstrap_servers=BROKER)


def create(topic, partitions, configs):
    client = admin()
    client.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
    client.close()


def delete(topic):
    client = admin()
    client.delete_topics([topic])
    client.close()


def produce(topic, codec, acks, records):
    producer = KafkaProducer(
        bootstrap_servers=BROKER, compression_type=None if codec == "none" else codec, acks={"0": 0, "1": 1, "all": "all"}[acks],
        enable_idempotence=acks == "all", linger_ms=2, max_request_size=LARGE, max_block_ms=20_000, **ROOM,
    )
    try:
        sent = [
            producer.send(
                topic, key=raw(each["key"]), value=raw(each["value"]), partition=each["partition"], timestamp_ms=each["timestamp"],
                headers=[(name, raw(value)) for name, value in each["headers"]],
            )
            for each in records
        ]
        for future in sent:
            future.get(timeout=20)
    finally:
        producer.close(timeout=5)


def raw(text):
    return None if text is None else text.encode()


def consumer():
    return KafkaConsumer(bootstrap_servers=BROKER, group_id=None, max_partition_fetch_bytes=LARGE, fetch_max_bytes=LARGE)


def consume(topic, **wanted):
    reader = consumer()
    reader.assign([TopicPartition(topic, partition) for partition, _ in wanted["from"]])
    for partition, offset in wanted["from"]:
        reader.seek(TopicPartition(topic, partition), offset)
    seen, deadline = [], time.monotonic() + wanted["seconds"]
    while len(seen) < wanted["count"] and time.monotonic() < deadline:
        for records in reader.poll(timeout_ms=200).values():
            seen += [
                {
                    "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp, "key": text(record.key),
                    "value": text(record.value), "headers": [[name, text(value)] for name, value in record.headers],
                }
                for record in records
            ]
    reader.close()
    return {"records": seen}


def text(data):
    return None if data is None else bytes(data).decode()


def search(topic, partition, timestamp):
    reader = consumer()
    found = reader.offsets_for_times({TopicPartition(topic, partition): timestamp})[TopicPartition(topic, partition)]
    reader.close()
    return {"offset": found.offset if found else -1}


# Version 2.3 drops at its close what it says it has sent without acknowledgement, with Apache Kafka as well.
ACKS = ["1", "all"] if kafka.__version__.startswith("2.") else ["0", "1", "all"]
common.run(
    {"name": "kafka-python", "version": kafka.__version__, "codecs": ["none", "gzip", "snappy", "lz4", "zstd"], "acks": ACKS, "cannot": []},
    {"create": create, "delete": delete, "produce": produce, "consume": consume, "search": search},
)
