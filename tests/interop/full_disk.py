"""A full disk: appends are refused with KAFKA_STORAGE_ERROR [56], reads go on, and it heals when room returns.

Needs root (a loop mount); says so and passes where it is not.
"""

import os
import subprocess
import sys
import time

from broker import Broker, work_dir
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from clients import kcat

IMAGE_BYTES = 320 << 20
TOPIC = "full"
STORAGE_ERROR = 56
TIMED_OUT = -192


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


def check(mount):
    settings = ["storage.journal.file.bytes=8388608", "log.segment.bytes=8388608"]
    with Broker("full", data=mount / "data", settings=settings) as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        for topic in (TOPIC, "filler"):
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=20)
        good, codes = send(broker.address, b"x" * 100, 100)
        assert len(good) == 100 and not codes, codes
        filler = mount / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(b"\0" * (1 << 20))
            except OSError:
                pass

        # What was admitted while the journal could still grow may be answered only when room returns (the client gives up
        # on it); from then on everything is refused at once.
        acknowledged, codes = 100, []
        deadline = time.monotonic() + 90
        while set(codes) != {STORAGE_ERROR}:
            assert time.monotonic() < deadline, f"a full disk refuses nothing: {set(codes)}"
            good, codes = send(broker.address, os.urandom(60_000), 400)
            acknowledged += len(good)
            assert set(codes) <= {STORAGE_ERROR, TIMED_OUT}, f"refused with {set(codes)}"
        read = kcat(broker.address, ["-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%o\\n"]).split()
        assert len(read) >= acknowledged, f"{len(read)} of {acknowledged} acknowledged records can be read"
        assert broker.process.poll() is None, "the broker did not survive a full disk"

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
        read = kcat(broker.address, ["-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%o\\n"]).split()
        assert len(read) >= after, f"{len(read)} of {after} acknowledged records after a restart"
        print(f"    refused with [56] after {acknowledged} records, read on, healed, all there after kill -9")


def main():
    if os.geteuid() != 0:
        print("    left out: a loop mount needs root")
        return 0
    work = work_dir("full-disk")
    image, mount = work / "image", work / "mount"
    mount.mkdir()
    subprocess.run(["truncate", "-s", str(IMAGE_BYTES), image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mount], check=False).returncode:
        print("    left out: this machine allows no loop mount")
        return 0
    try:
        check(mount)
    finally:
        for _ in range(50):
            if subprocess.run(["umount", mount], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        image.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
