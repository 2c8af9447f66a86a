"""A small disk of its own for a check: an ext4 image on a loop mount."""

import contextlib
import os
import subprocess
import sys
import time

from broker import work_dir


@contextlib.contextmanager
def loop_mount(name, size_bytes):
    """Where the disk is mounted. Without root or loop devices the check fails and says what to type."""
    if os.geteuid() != 0:
        sys.exit(f"{name}: a loop mount needs root; run it so: sudo -E tests/interop/run {name}")
    work = work_dir(name)
    image, mount = work / "image", work / "mount"
    mount.mkdir()
    subprocess.run(["truncate", "-s", str(size_bytes), image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mount], check=False).returncode:
        sys.exit(f"{name}: no loop mount is allowed here; in a container: docker run --privileged")
    try:
        yield mount
    finally:
        # The kernel lets go of a killed broker's files a moment later.
        for _ in range(100):
            if subprocess.run(["umount", mount], check=False, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        image.unlink()
