"""A full disk: appends are refused with KAFKA_STORAGE_ERROR [56] and none of them stalls, topics are refused as soon as the
metadata has no room either, reads and deletions go on, a stop ends, it starts again as it is, and it heals when room returns.

Needs root for a loop mount.
"""

import os
import subprocess
import time

from broker import Broker, binary, free_port
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kcat import kcat
from loop_mount import loop_mount

IMAGE_BYTES = 320 << 20
TOPIC = "full"
STORAGE_ERROR = 56
WAIT_MAX_S = 5


def send(broker, value, count):
    """How many were acknowledged, and the codes of the refusals."""
    codes, good = [], []
    producer = Producer({"bootstrap.servers": broker, "acks": "all", "retries": 0, "message.timeout.ms": 10000, "linger.ms": 1, "log_level": 2})

    def answered(error, message):
        (codes if error else good).append(error.code() if error else message.offset())

    for _ in range(count):
        while True:
            try:
                producer.produce(TOPIC, value=value, partition=0, on_delivery=answered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        if codes:
            break
    producer.flush(30)
    return good, codes


def fill(path):
    with open(path, "ab") as file:
        try:
            while True:
                file.write(b"\0" * (1 << 20))
        except OSError:
            pass


def check_topics(admin):
    """Topics are made while the metadata has room, then refused; each answer comes at once. Deletions still work."""
    made = []
    while True:
        name = f"topic-{len(made)}"
        began = time.monotonic()
        try:
            admin.create_topics([NewTopic(name, 500, 1)])[name].result(timeout=20)
            made.append(name)
        except KafkaException as refused:
            assert refused.args[0].code() == STORAGE_ERROR, refused
            assert "full" in refused.args[0].str(), refused
            break
        finally:
            assert time.monotonic() - began < WAIT_MAX_S, f"{name} took {time.monotonic() - began:.1f} s"
        assert len(made) < 100, "a full disk takes topics for ever"
    gone = made.pop() if made else None
    if gone:
        admin.delete_topics([gone])[gone].result(timeout=WAIT_MAX_S)
    print(f"    topics are refused after {len(made) + 1}, one of them could be deleted")
    return made


def read(broker):
    return kcat(broker.address, ["-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%o\\n"]).split()


def check_start(broker, filler, acknowledged):
    """On the full disk a node starts, however the one before it ended; it serves reads and takes deletions."""
    for end in (broker.kill, lambda: broker.stop(within_s=15), broker.kill):
        end()
        fill(filler)
        broker.start()
        found = read(broker)
        assert len(found) >= acknowledged, f"{len(found)} of {acknowledged} acknowledged records after a start on a full disk"
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.list_topics(timeout=WAIT_MAX_S)
    print("    starts again on the full disk, after kill -9 and after a stop, and serves reads")


def check_first_start(mount):
    """A directory without a journal cannot begin on a full disk."""
    command = [binary(), "serve", "--data", mount / "first", "--listen", f"127.0.0.1:{free_port()}", "--shards", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 74 and "make room" in done.stderr, f"{done.returncode}: {done.stderr}"
    print("    a first start on the full disk is refused with what to do")


def check(mount):
    settings = ["storage.journal.file.bytes=8388608", "log.segment.bytes=8388608"]
    with Broker("full", data=mount / "data", settings=settings) as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        for topic in (TOPIC, "filler"):
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=20)
        good, codes = send(broker.address, b"x" * 100, 100)
        assert len(good) == 100 and not codes, codes
        filler = mount / "filler"
        fill(filler)
        acknowledged, codes = 100, []
        deadline = time.monotonic() + 90
        while set(codes) != {STORAGE_ERROR}:
            assert time.monotonic() < deadline, f"a full disk refuses nothing: {set(codes)}"
            good, codes = send(broker.address, os.urandom(60_000), 400)
            acknowledged += len(good)
            assert set(codes) <= {STORAGE_ERROR}, f"refused with {set(codes)}"
        found = read(broker)
        assert len(found) >= acknowledged, f"{len(found)} of {acknowledged} acknowledged records can be read"
        assert broker.process.poll() is None, "the broker did not survive a full disk"
        topics = check_topics(admin)
        check_first_start(mount)
        check_start(broker, filler, acknowledged)
        admin.delete_topics(["filler", *topics])["filler"].result(timeout=WAIT_MAX_S)

        filler.unlink()
        deadline = time.monotonic() + 30
        while True:
            good, codes = send(broker.address, b"healed", 10)
            if len(good) == 10:
                break
            assert time.monotonic() < deadline, f"it does not heal: {set(codes)}"
            time.sleep(0.2)
        after = acknowledged + 10
        broker.kill()
        broker.start()
        found = read(broker)
        assert len(found) >= after, f"{len(found)} of {after} acknowledged records after a restart"
        fill(filler)
        send(broker.address, os.urandom(60_000), 400)
        took = broker.stop(within_s=15)
        print(f"    refused with [56] after {acknowledged} records, read on, healed, all there after kill -9; a stop on the full disk took {took:.1f} s")


if __name__ == "__main__":
    with loop_mount("full-disk", IMAGE_BYTES) as disk:
        check(disk)
