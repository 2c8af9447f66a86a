"""SIGKILL with large writes in flight on a throttled device: whoever comes next waits for the lock, and afterwards no byte
of the dead process lands.

Needs root for a loop mount, and a blkio (v1) or io (v2) control group.
"""

import fcntl
import hashlib
import os
import pathlib
import sys
import time

from broker import Broker
from confluent_kafka import Producer
from kcat import kcat
from loop_mount import loop_mount

TOPIC = "late"
IMAGE_BYTES = 2 << 30
BYTES_PER_S = 8 << 20


class Throttle:
    """A control group whose processes may write only so fast to one device."""

    def __init__(self, device):
        self.path = None
        for base, name, controllers in (
            ("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device", None),
            ("/sys/fs/cgroup", "io.max", "cgroup.subtree_control"),
        ):
            base = pathlib.Path(base)
            path = base / f"millstream-late-{os.getpid()}"
            try:
                if controllers:
                    (base / controllers).write_text("+io")
                path.mkdir()
                text = f"{device} {BYTES_PER_S}" if not controllers else f"{device} wbps={BYTES_PER_S}"
                (path / name).write_text(text)
                self.path, self.limit, self.lift = path, name, text.replace(str(BYTES_PER_S), "max" if controllers else "0")
                return
            except OSError:
                if path.is_dir():
                    path.rmdir()

    def add(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def remove(self):
        (self.path / self.limit).write_text(self.lift)
        for _ in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)


def digest(data):
    sums = {}
    for path in sorted(data.rglob("*")):
        if path.is_file():
            sums[str(path)] = hashlib.blake2b(path.read_bytes()).hexdigest()
    return sums


def check(mount):
    device = os.stat(mount).st_dev
    throttle = Throttle(f"{os.major(device)}:{os.minor(device)}")
    if throttle.path is None:
        sys.exit("late-writes: no control group can throttle here; mount one: mount -t cgroup -o blkio none /sys/fs/cgroup/blkio")
    try:
        with Broker("late", data=mount / "data", settings=["num.partitions=4"]) as broker:
            first = Producer({"bootstrap.servers": broker.address, "linger.ms": 1})
            told = []
            for number in range(100):
                first.produce(TOPIC, value=f"first {number}", on_delivery=lambda error, _: error or told.append(1))
            assert first.flush(20) == 0 and len(told) == 100
            throttle.add(broker.process.pid)
            producer = Producer({
                "bootstrap.servers": broker.address, "linger.ms": 50, "batch.size": 1_000_000, "log_level": 0,
                "message.max.bytes": 1_000_000, "max.in.flight": 50, "enable.idempotence": False,
            })
            for number in range(600):
                producer.produce(
                    TOPIC, value=os.urandom(90_000), partition=number % 4, on_delivery=lambda error, _: error or told.append(1)
                )
                producer.poll(0)
            time.sleep(0.7)
            producer.poll(0)
            acknowledged = len(told)
            broker.process.kill()
            began = time.monotonic()
            with open(broker.data / "lock", "r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                waited = time.monotonic() - began
                before = digest(broker.data)
                time.sleep(2)
                after = digest(broker.data)
                changed = [path for path in before if before[path] != after.get(path)]
                assert before == after, f"bytes of the dead process landed after its lock was free: {changed}"
            broker.process.wait()
            # The next process of the real thing: it starts as soon as it may, and everything acknowledged is there.
            broker.start()
            read = kcat(broker.address, ["-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", "%o\\n"]).split()
            assert len(read) >= acknowledged, f"{len(read)} of {acknowledged} acknowledged records"
            print(f"    {waited:.2f} s until the lock was free, no byte changed afterwards, {acknowledged} records there")
    finally:
        throttle.remove()


if __name__ == "__main__":
    with loop_mount("late-writes", IMAGE_BYTES) as disk:
        check(disk)
