"""A stop while the disk does not answer (a frozen file system) ends by itself, with a sentence and a code of its own.

Needs root and a loop mount; says so and passes where one is missing.
"""

import os
import subprocess
import sys
import time

from broker import Broker, work_dir
from confluent_kafka import Producer

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


def main():
    if os.geteuid() != 0:
        print("    left out: a loop mount needs root")
        return 0
    work = work_dir("stuck-disk")
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
