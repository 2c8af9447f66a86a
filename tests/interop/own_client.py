"""The project's own client against its own broker: the tests of `engine::client` that need one."""

import os
import subprocess

from broker import ROOT, Broker


def main():
    with Broker("own-client", shards=2) as broker:
        command = ["cargo", "test", "-q", "-p", "millstream-engine", "--lib", "real_broker", "--", "--ignored"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "KAFKA_BROKER": broker.address}, capture_output=True, text=True, timeout=1200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "6 passed" in done.stdout, f"not all of its tests ran: {done.stdout}"
    print("    six tests of the own client against a broker that runs")


if __name__ == "__main__":
    main()
