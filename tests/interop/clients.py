"""Real clients: each produces with every codec and acks, each reads what every one sent.

    clients.py [--broker HOST:PORT] [--shards N]

Without --broker a Millstream of its own is started.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time
import uuid

import content
from broker import ROOT, Broker
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as PythonPartition

PARTITIONS = 4
JAVA = str(ROOT / "target/env/java/libs/*")
JAVA_SOURCE = str(pathlib.Path(__file__).parent / "java/Interop.java")


# Confluent's Python client (librdkafka).


def confluent_produce(broker, topic):
    for codec in content.CODECS:
        for acks in content.ACKS:
            failures = []
            producer = Producer({
                "bootstrap.servers": broker,
                "compression.type": codec,
                "acks": acks,
                "enable.idempotence": acks == "all",
                "linger.ms": 2,
            })
            for key in content.keys("confluent", codec, acks):
                producer.produce(
                    topic, key=key, value=content.value_of(key), headers={"n": key.encode()},
                    on_delivery=lambda error, _: error and failures.append(str(error)),
                )
            assert producer.flush(20) == 0, f"confluent {codec} acks={acks}: not everything was answered"
            assert not failures, f"confluent {codec} acks={acks}: {failures[0]}"


def confluent_consume(broker, topic, count):
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False,
        "enable.partition.eof": True, "check.crcs": True,
    })
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    seen, ended, deadline = [], set(), time.monotonic() + 30
    while len(ended) < PARTITIONS and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, str(message.error())
            ended.add(message.partition())
            continue
        seen.append((message.partition(), message.offset(), message.key().decode(), message.value().decode()))
    consumer.close()
    assert len(ended) == PARTITIONS, f"confluent: the end was not reached after {len(seen)} of {count} records"
    return seen


# kafka-python.


def python_produce(broker, topic):
    for codec in content.CODECS:
        for acks in content.ACKS:
            number = {"all": "all", "0": 0, "1": 1}[acks]
            producer = KafkaProducer(
                bootstrap_servers=broker,
                compression_type=None if codec == "none" else codec,
                acks=number,
                enable_idempotence=acks == "all",
                linger_ms=2,
            )
            sent = [
                producer.send(topic, key=key.encode(), value=content.value_of(key).encode())
                for key in content.keys("python", codec, acks)
            ]
            producer.flush(timeout=20)
            for future in sent:
                future.get(timeout=20)
            producer.close()


def python_consume(broker, topic, count):
    consumer = KafkaConsumer(bootstrap_servers=broker, group_id=None, consumer_timeout_ms=20000, auto_offset_reset="earliest")
    partitions = [PythonPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    seen = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        batches = consumer.poll(timeout_ms=20000)
        if not batches:
            break
        for records in batches.values():
            seen += [(record.partition, record.offset, record.key.decode(), record.value.decode()) for record in records]
    consumer.close()
    return seen


# kcat.


def kcat(broker, arguments, text=None):
    done = subprocess.run(
        ["kcat", "-b", broker, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"kcat {' '.join(arguments)}: {done.stderr[-600:]}"
    return done.stdout


def kcat_produce(broker, topic):
    for codec in content.CODECS:
        for acks in content.ACKS:
            lines = "".join(f"{key}#{content.value_of(key)}\n" for key in content.keys("kcat", codec, acks))
            number = "-1" if acks == "all" else acks
            kcat(broker, ["-P", "-t", topic, "-K", "#", "-z", codec, "-X", f"acks={number}"], lines)


def kcat_consume(broker, topic, count):
    text = kcat(broker, ["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p %o %k %s\\n"])
    lines = [line.split(" ", 3) for line in text.splitlines()]
    return [(int(partition), int(offset), key, value) for partition, offset, key, value in lines]


# The Java client.


def java(arguments):
    done = subprocess.run(
        ["java", "-Xmx256m", "-cp", JAVA, JAVA_SOURCE, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"java {' '.join(arguments)}: {done.stderr[-1200:]}"
    return done.stdout


def java_produce(broker, topic):
    java(["produce", broker, topic, str(content.PER_COMBINATION), ",".join(content.CODECS), ",".join(content.ACKS)])


def java_consume(broker, topic, count):
    lines = [line.split(" ", 3) for line in java(["consume", broker, topic]).splitlines()]
    return [(int(partition), int(offset), key, value) for partition, offset, key, value in lines]


CLIENTS = {
    "confluent": (confluent_produce, confluent_consume),
    "python": (python_produce, python_consume),
    "kcat": (kcat_produce, kcat_consume),
    "java": (java_produce, java_consume),
}


def check_round_trips(broker, run, names):
    admin = AdminClient({"bootstrap.servers": broker})
    for writer in names:
        topic = f"interop-{writer}-{run}"
        for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
            future.result(timeout=20)
        produce, _ = CLIENTS[writer]
        produce(broker, topic)
        expected = content.all_keys(writer)
        for reader in names:
            _, consume = CLIENTS[reader]
            content.check(reader, writer, consume(broker, topic, len(expected)), expected)
        print(f"    {writer}: {len(expected)} records, 5 codecs, acks 0, 1 and all; read by {', '.join(names)}")


def check_admin(broker, run):
    """Creation, refusal of a second one, listing, offsets by time, deletion."""
    admin = AdminClient({"bootstrap.servers": broker})
    topic = f"admin-{run}"
    admin.create_topics([NewTopic(topic, 3, 1, config={"retention.ms": "3600000"})])[topic].result(timeout=20)
    try:
        admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(timeout=20)
        raise AssertionError("a topic was made twice")
    except Exception as error:
        assert getattr(error.args[0], "code", lambda: None)() == KafkaError.TOPIC_ALREADY_EXISTS, error
    listed = admin.list_topics(timeout=20).topics[topic]
    assert len(listed.partitions) == 3 and all(part.leader >= 0 for part in listed.partitions.values())
    assert topic in kcat(broker, ["-L"])

    producer = Producer({"bootstrap.servers": broker})
    for number in range(10):
        producer.produce(topic, value=f"v{number}", partition=1, timestamp=1_700_000_000_000 + number * 1000)
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 1), timeout=20)
    assert (low, high) == (0, 10), (low, high)
    found = consumer.offsets_for_times([TopicPartition(topic, 1, 1_700_000_004_500)], timeout=20)
    assert found[0].offset == 5, found
    consumer.close()

    admin.delete_topics([topic])[topic].result(timeout=20)
    deadline = time.monotonic() + 10
    while topic in admin.list_topics(timeout=20).topics:
        assert time.monotonic() < deadline, "a deleted topic is still listed"
        time.sleep(0.1)
    print("    topics: made, refused twice, listed, offsets found by time, deleted")


def check_restart(broker):
    """What clients wrote is there after a graceful stop."""
    topic = "restart"
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
    for number in range(1000):
        producer.produce(topic, key=str(number), value=f"before {number}")
    assert producer.flush(30) == 0
    seconds = broker.stop()
    broker.start()
    read = kcat(broker.address, ["-C", "-t", topic, "-o", "beginning", "-e", "-q"]).splitlines()
    assert sorted(read) == sorted(f"before {number}" for number in range(1000)), f"{len(read)} of 1000 after a stop"
    print(f"    graceful stop in {seconds:.2f} s, everything there afterwards")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", help="an address; without it a Millstream is started")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    args = parser.parse_args()
    run, names = uuid.uuid4().hex[:8], args.clients.split(",")
    if args.broker:
        check_admin(args.broker, run)
        check_round_trips(args.broker, run, names)
        return
    with Broker("clients", args.shards, settings=["num.partitions=4"]) as broker:
        check_admin(broker.address, run)
        check_round_trips(broker.address, run, names)
        check_restart(broker)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
