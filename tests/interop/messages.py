"""Every message of every version that Millstream's encoder writes, read and written again by the classes in Kafka's jars."""

import os
import pathlib
import subprocess
import tempfile

from broker import ROOT
from kafka_broker import java

TEST = "samples_of_every_message_are_given_to_kafkas_own_classes"


def main():
    with tempfile.TemporaryDirectory() as work:
        samples = pathlib.Path(work) / "samples"
        # The whole workspace, as the Rust tests build it: a part of it has other features, and would be compiled again.
        command = ["cargo", "test", "-q", "--workspace", "--lib", TEST]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "MESSAGE_SAMPLES": str(samples)}, capture_output=True, text=True, timeout=1200, check=False
        )
        assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
        kinds = {tuple(line.split(" ")[:3]) for line in samples.read_text().splitlines()}
        read = subprocess.run(java("Messages", str(samples)), capture_output=True, text=True, timeout=300, check=False)
        assert read.returncode == 0, read.stderr[:3000]
        assert f"of {len(kinds)} kinds" in read.stdout, read.stdout
    print(f"    {read.stdout.strip()} are read and written by Kafka's own classes as they came")


if __name__ == "__main__":
    main()
