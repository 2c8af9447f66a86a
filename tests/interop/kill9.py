"""kill -9 at random moments under idempotent producers at full speed: every acknowledged record is there once, in order,
at the offset that was told.

    kill9.py [--kills N] [--shards N] [--seed N]
"""

import argparse
import array
import random
import threading
import time

from broker import Broker
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

PARTITIONS = 4
TOPIC = "kill9"


class Writer(threading.Thread):
    """One idempotent producer on its own partitions; a record is its producer, its partition and its number there."""

    def __init__(self, name, broker, partitions, size, settings):
        super().__init__(daemon=True)
        self.label, self.partitions, self.size = name, partitions, size
        self.stopping = threading.Event()
        self.failures = []
        # Partition -> number -> the offset that was told, -1 while nothing was.
        self.told = {partition: array.array("q") for partition in partitions}
        self.producer = Producer({
            "bootstrap.servers": broker, "enable.idempotence": True, "message.timeout.ms": 180000,
            "retry.backoff.ms": 20, "retry.backoff.max.ms": 100, "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100, "queue.buffering.max.messages": 20000, "log_level": 2, **settings,
        })

    def run(self):
        while not self.stopping.is_set():
            for partition in self.partitions:
                self.send(partition)
            self.producer.poll(0)
        left = self.producer.flush(120)
        if left:
            self.failures.append(f"{left} records were never answered")

    def send(self, partition):
        told = self.told[partition]
        number = len(told)
        told.append(-1)
        value = f"{self.label} {partition} {number} ".encode().ljust(self.size, b".")

        def answered(error, message):
            if error:
                self.failures.append(f"{self.label} {partition} {number}: {error}")
            else:
                told[number] = message.offset()

        while True:
            try:
                self.producer.produce(TOPIC, value=value, partition=partition, on_delivery=answered)
                return
            except BufferError:
                self.producer.poll(0.05)

    def acknowledged(self):
        return sum(len(told) - told.count(-1) for told in self.told.values())


def read_all(broker):
    """Partition -> [(offset, label, number)]."""
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False,
        "enable.partition.eof": True, "check.crcs": True, "fetch.message.max.bytes": 8 << 20,
    })
    consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    seen, ended, deadline = {partition: [] for partition in range(PARTITIONS)}, set(), time.monotonic() + 240
    while len(ended) < PARTITIONS:
        assert time.monotonic() < deadline, "the log could not be read to its end"
        for message in consumer.consume(10000, 0.5):
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, str(message.error())
                ended.add(message.partition())
                continue
            label, partition, number = message.value().split(b" ", 3)[:3]
            assert int(partition) == message.partition(), "a record is in a partition it was not sent to"
            seen[message.partition()].append((message.offset(), label.decode(), int(number)))
    consumer.close()
    return seen


def verify(writers, seen):
    for writer in writers:
        for partition, told in writer.told.items():
            numbers = [number for _, label, number in seen[partition] if label == writer.label]
            assert numbers == sorted(set(numbers)), (
                f"{writer.label} {partition}: a record is there twice or out of order near "
                f"{next(pair for pair in zip(numbers, numbers[1:]) if pair[0] >= pair[1])}"
            )
            places = {number: offset for offset, label, number in seen[partition] if label == writer.label}
            for number, offset in enumerate(told):
                if offset >= 0:
                    found = places.get(number)
                    assert found == offset, f"{writer.label} {partition} {number}: told offset {offset}, found {found}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args = parser.parse_args()
    chance = random.Random(args.seed)
    settings = [f"num.partitions={PARTITIONS}", "log.segment.bytes=16777216"]
    with Broker("kill9", args.shards, settings=settings) as broker:
        writers = [
            Writer("small", broker.address, [0, 1], 120, {"linger.ms": 0}),
            Writer("large", broker.address, [2, 3], 1024, {"linger.ms": 20, "batch.size": 500000, "compression.type": "none"}),
            Writer("packed", broker.address, [1, 2], 400, {"linger.ms": 5, "compression.type": "lz4"}),
        ]
        for writer in writers:
            writer.start()
        restarts, progress = [], 0
        for kill in range(args.kills):
            time.sleep(chance.uniform(0.1, 1.0))
            broker.kill()
            began = time.monotonic()
            broker.start()
            restarts.append(time.monotonic() - began)
            # Something must be acknowledged between two kills, or the run proves nothing.
            deadline = time.monotonic() + 60
            while (now := sum(writer.acknowledged() for writer in writers)) <= progress:
                assert not any(writer.failures for writer in writers), [writer.failures[:3] for writer in writers]
                assert time.monotonic() < deadline, f"seed {args.seed}: nothing is acknowledged after kill {kill + 1}"
                time.sleep(0.02)
            progress = now
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(150)
            assert not writer.failures, f"seed {args.seed}: {writer.failures[:3]}"
        verify(writers, read_all(broker.address))
        broker.stop()
        broker.start()
        verify(writers, read_all(broker.address))
        print(
            f"    {args.kills} kills, {sum(writer.acknowledged() for writer in writers)} records acknowledged, each there "
            f"once and in order; back within {max(restarts):.2f} s (seed {args.seed})"
        )


if __name__ == "__main__":
    main()
