"""A stop while the disk does not answer (a frozen file system) ends by itself, with a sentence and a code of its own.

Needs root for a loop mount.
"""

import subprocess
import time

from broker import Broker
from confluent_kafka import Producer
from loop_mount import loop_mount

IMAGE_BYTES = 512 << 20
STUCK = 76
STOP_MAX_S = 10


def check(mount):
    with Broker("stuck", data=mount / "data") as broker:
        producer = Producer({"bootstrap.servers": broker.address, "log_level": 2})
        producer.produce("stuck", value="before")
        assert producer.flush(20) == 0
        subprocess.run(["fsfreeze", "-f", mount], check=True)
        try:
            producer.produce("stuck", value="never answered")
            producer.flush(1)
            began = time.monotonic()
            broker.process.terminate()
            while "the stop is not done" not in broker.words():
                assert time.monotonic() - began < STOP_MAX_S + 5, "the stop is not bounded"
                time.sleep(0.1)
            took = time.monotonic() - began
        finally:
            subprocess.run(["fsfreeze", "-u", mount], check=True)
        # The kernel lets go of a process only when its last write has come back.
        assert broker.process.wait(timeout=20) == STUCK, broker.process.returncode
        broker.start()
        print(f"    a stop over a disk that does not answer was ended after {took:.1f} s")


if __name__ == "__main__":
    with loop_mount("stuck-disk", IMAGE_BYTES) as disk:
        check(disk)
