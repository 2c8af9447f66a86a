"""A Millstream process for a check: started on a free port of the loopback, stopped by its pid."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    """The program under test: MILLSTREAM, or the newest build."""
    if "MILLSTREAM" in os.environ:
        return os.environ["MILLSTREAM"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / profile / "millstream" for profile in ("release", "debug")]
    built = [path for path in built if path.exists()]
    if not built:
        raise SystemExit("there is no millstream to check: run `cargo build --release` first")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def work_dir(name):
    """A directory on the disk of the sources (not on a tmpfs)."""
    base = ROOT / "target" / "interop"
    base.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=base))


class Broker:
    """One broker and its data directory. Used as a context: stopped and removed at the end, kept after a failure."""

    def __init__(self, name, shards=1, data=None, settings=()):
        self.dir = work_dir(name)
        self.data = pathlib.Path(data) if data else self.dir / "data"
        self.log = self.dir / "broker.log"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.shards = shards
        self.settings = list(settings)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.kill()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"    kept: {self.dir}")
            print("    the broker's last words: " + self.words()[-1500:].strip().replace("\n", "\n    "))

    def start(self, wait_s=60):
        command = [binary(), "serve", "--data", str(self.data), "--listen", self.address, "--shards", str(self.shards)]
        for pair in self.settings:
            command += ["--set", pair]
        before = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.wait(wait_s, before)

    def wait(self, wait_s, before):
        """Until it says that it is ready, in what its log has behind `before`."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the broker ended with {self.process.returncode}: {self.words()[-800:]}")
            if b"is ready" in self.log.read_bytes()[before:]:
                return
            time.sleep(0.01)
        raise AssertionError(f"the broker is not ready after {wait_s} s: {self.words()[-800:]}")

    def kill(self):
        """kill -9, by pid."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self, within_s=10):
        """SIGTERM; how long it took. It must exit with 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=within_s)
        assert code == 0, f"a graceful stop ended with {code}: {self.words()[-800:]}"
        return time.monotonic() - began

    def words(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""
