"""A file system without direct IO (ramfs) is refused with the setting that helps; with it a node runs there, and warns.

Needs root for a mount.
"""

import os
import subprocess
import sys

from broker import Broker, binary, free_port, work_dir
from confluent_kafka import Producer

SETTING = "storage.direct-io=false"
DISK = 74


def check(mount):
    command = [binary(), "serve", "--data", mount / "data", "--listen", f"127.0.0.1:{free_port()}", "--shards", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == DISK, f"{done.returncode}: {done.stderr}"
    assert "O_DIRECT" in done.stderr and SETTING in done.stderr, done.stderr
    with Broker("no-direct-io", data=mount / "data", settings=[SETTING]) as broker:
        assert "page cache" in broker.words(), broker.words()
        producer = Producer({"bootstrap.servers": broker.address, "log_level": 2})
        producer.produce("cached", value="kept")
        assert producer.flush(20) == 0
        broker.kill()
        broker.start()
        broker.stop()
    print("    refused without direct IO, runs with the setting, and warns")


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("no-direct-io: a mount needs root; run it so: sudo -E tests/interop/run no-direct-io")
    work = work_dir("no-direct-io")
    if subprocess.run(["mount", "-t", "ramfs", "ramfs", work], check=False).returncode:
        sys.exit("no-direct-io: no mount is allowed here; in a container: docker run --privileged")
    try:
        check(work)
    finally:
        subprocess.run(["umount", "-l", work], check=True)
        work.rmdir()
