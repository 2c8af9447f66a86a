"""Damage to any file of a data directory, through the real start: the node names what is wrong and refuses, or it starts, and then every
acknowledged record is there unless it says that something is damaged. It never crashes, and `log verify` and `doctor` never do.

    damage.py [--ways N] [--seed N]
"""

import argparse
import random
import shutil
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from broker import Broker, binary, free_port
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from wire import Connection

PARTITIONS = 3
TOPIC = "damaged"
# What a refusal or a crash may not end with: a panic (101, or SIGABRT in release builds) or another signal.
REFUSALS = (1, 65, 74)
STORAGE_ERROR = 56
# The timestamp of the first record: not so old that it is past its time.
BEGAN_MS = int(time.time() * 1000) - 86_400_000
# What a partition may take to be read to its end, or to refuse that, on a busy machine.
READ_S = 60
AT_A_TIME = 3
# So many records of a partition are looked up.
PLACES = 20


def fill(broker, first, count):
    """Numbers, idempotently, spread over the partitions."""
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True, "linger.ms": 2, "log_level": 2})
    failures = []
    for number in range(first, first + count):
        value = f"{number} ".encode().ljust(300, b".")
        at = {"partition": number % PARTITIONS, "timestamp": BEGAN_MS + number}
        producer.produce(TOPIC, value=value, on_delivery=lambda error, _: error and failures.append(error), **at)
        producer.poll(0)
    assert producer.flush(60) == 0 and not failures, failures


def fetch(connection, partition, offset):
    """The error with which the partition refuses to be read from there, 0 for none; and the first batch or its beginning."""
    asked = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1024}
    topics = [{"Topic": TOPIC, "Partitions": [asked]}]
    told = connection.ask("Fetch", 11, {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1024, "Topics": topics})
    if told["ErrorCode"]:
        return told["ErrorCode"], b""
    told = told["Responses"][0]["Partitions"][0]
    return told["ErrorCode"], told["Records"]


def look_up(connection, partition, numbers, what):
    """Some of the records are found by their offsets and by their times."""
    for number in numbers[:: max(len(numbers) // PLACES, 1)]:
        offset = number // PARTITIONS
        error, records = fetch(connection, partition, offset)
        assert not error, f"{what}: {partition}/{offset}: error {error}"
        (first,), (delta,) = struct.unpack_from(">q", records), struct.unpack_from(">i", records, 23)
        assert first <= offset <= first + delta, f"{what}: {partition}: {offset} is read from {first} to {first + delta}"
        asked = {"PartitionIndex": partition, "CurrentLeaderEpoch": -1, "Timestamp": BEGAN_MS + number}
        topics = [{"Name": TOPIC, "Partitions": [asked]}]
        told = connection.ask("ListOffsets", 5, {"ReplicaId": -1, "IsolationLevel": 0, "Topics": topics})
        told = told["Topics"][0]["Partitions"][0]
        found = told["ErrorCode"], told["Offset"]
        assert found == (0, offset), f"{what}: {partition}: what has the time of {offset} is at {found}"


def read(address):
    """The numbers that can be read, and the errors that partitions answer instead of going on."""
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True,
        "check.crcs": True, "fetch.wait.max.ms": 10, "log_level": 0,
    })
    partitions = [TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    found, ended, refused = set(), set(), set()
    deadline = time.monotonic() + READ_S
    with Connection(address) as connection:
        while len(ended) < PARTITIONS:
            assert time.monotonic() < deadline, f"after {READ_S} s only {ended} have an end or refuse to be read"
            messages = consumer.consume(5000, 0.1)
            for message in messages:
                error = message.error()
                if error is None:
                    found.add(int(message.value().split()[0]))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
            if messages:
                continue
            # A client tries again and again what is refused, and does not say so.
            for position in consumer.position(partitions):
                code = position.partition not in ended and fetch(connection, position.partition, max(position.offset, 0))[0]
                if code:
                    ended.add(position.partition)
                    refused.add(code)
    consumer.close()
    return found, refused


def damages(rng, path):
    """Ways to damage a file, each a name and a function."""
    size = path.stat().st_size
    raw = path.read_bytes()
    used = len(raw.rstrip(b"\0")) or 1

    def rewrite(change):
        def act():
            with open(path, "r+b") as file:
                change(file)
        return act

    def flip(file):
        at = rng.randrange(min(used, size))
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))

    def fill_with(byte):
        def change(file):
            at = rng.randrange(min(used, size))
            file.seek(at)
            file.write(bytes([byte]) * min(rng.randrange(1, 9000), size - at))
        return change

    found = [
        ("emptied", rewrite(lambda file: file.truncate(0))),
        ("removed", path.unlink),
        ("a directory", lambda: (path.unlink(), path.mkdir())),
    ]
    if size > 0:
        found += [
            ("zeroed", rewrite(lambda file: file.write(b"\0" * size))),
            ("cut", rewrite(lambda file: file.truncate(rng.randrange(min(used, size))))),
            ("flipped", rewrite(flip)),
            ("zeroed in part", rewrite(fill_with(0))),
            ("overwritten in part", rewrite(fill_with(0xA5))),
        ]
    return found


def start(data):
    """Starts a node; (process, address, its words), or (None, exit code, its words) where it refuses."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    log = data.with_suffix(".log")
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [binary(), "serve", "--data", str(data), "--listen", address, "--shards", "1"], stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    while True:
        words = log.read_text(errors="replace")
        if "is ready" in words:
            return process, address, words
        if process.poll() is not None:
            return None, process.returncode, log.read_text(errors="replace")
        time.sleep(0.01)


def judge(data, acknowledged, what):
    """Whether the node started."""
    for command in (["log", "verify", str(data)], ["log", "dump", str(data)], ["doctor", "--data", str(data), "--json"]):
        if command[0] == "doctor" and what[1] != "flipped":
            continue
        done = subprocess.run([binary(), *command], capture_output=True, text=True, errors="replace", timeout=60, check=False)
        assert done.returncode in (0, 1), f"{what}: {command}: {done.returncode}: {done.stderr[-500:]}"
        if command[1] == "verify":
            sound = done.returncode == 0
    process, told, words = start(data)
    assert "panicked" not in words, f"{what}: {words[-800:]}"
    if process is None:
        assert told in REFUSALS, f"{what}: exit code {told}: {words[-800:]}"
        name = what[0].split("/")[-1]
        assert name in words or "quorum" in words or "shard" in words, f"{what}: the refusal does not say where: {words}"
        return False
    try:
        found, refused = read(told)
        assert process.poll() is None, f"{what}: it ended while it was read: {process.returncode}"
        lost = acknowledged - found
        warned = "DAMAGE" in words or "damage" in words or not sound
        assert not lost or warned or STORAGE_ERROR in refused, f"{what}: {len(lost)} records are lost and nobody says so ({refused}): {words}"
        assert found <= acknowledged, f"{what}: records that nobody sent"
        with Connection(told) as connection:
            for partition in range(PARTITIONS):
                numbers = [number for number in sorted(acknowledged) if number % PARTITIONS == partition]
                if found.issuperset(numbers):
                    look_up(connection, partition, numbers, what)
    finally:
        process.kill()
        process.wait()
    return True


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--ways", type=int, default=3, help="how many of the eight ways each file is damaged in")
    options.add_argument("--seed", type=int, default=1)
    options = options.parse_args()
    with Broker("damage", settings=[f"num.partitions={PARTITIONS}", "log.segment.bytes=1048576"]) as broker:
        subprocess.run([binary(), "topic", "create", TOPIC, "--broker", broker.address], check=True, capture_output=True)
        fill(broker, 0, 15000)
        broker.stop()
        broker.start()
        fill(broker, 15000, 3000)
        broker.kill()
        acknowledged = set(range(18000))
        names = sorted(str(path.relative_to(broker.data)) for path in broker.data.rglob("*") if path.is_file())

        def one(number):
            """Damages one copy; whether the node started with it."""
            name = names[number // options.ways]
            copy = broker.dir / f"copy-{number}"
            subprocess.run(["cp", "-a", "--sparse=always", str(broker.data), str(copy)], check=True)
            # The ways take turns, so that few of them for each file are all of them in all.
            ways = damages(random.Random(f"{options.seed} {number}"), copy / name)
            kind, act = ways[number % len(ways)]
            act()
            began = judge(copy, acknowledged, (name, kind))
            shutil.rmtree(copy)
            return began

        # Most of the time something waits for the disk, or for a client.
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            began = list(threads.map(one, range(len(names) * options.ways)))
        starts, refusals = began.count(True), began.count(False)
        print(f"    {len(names)} files, {starts + refusals} damages: {starts} starts, {refusals} refusals, nothing lost in silence (seed {options.seed})")


if __name__ == "__main__":
    main()
