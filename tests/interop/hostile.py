"""Peers that cost memory: thousands that announce much and send little, and readers that never take their answers. What they
cost stays within the stated bounds, others are served meanwhile, and whoever stalls is closed."""

import resource
import socket
import sys
import struct
import subprocess
import time

from broker import Broker, binary

STALLED = 2000
KIB_PER_STALLED = 16
SLOW_READERS = 40
MIB = 1 << 20
MEMORY = 512 * MIB


def rss(process):
    for line in open(f"/proc/{process.pid}/status", encoding="ascii"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def connect(broker):
    return socket.create_connection(("127.0.0.1", broker.port), timeout=20)


def served(broker, within_s):
    """A line goes in and comes out; how long that took."""
    began = time.monotonic()
    at = ["--broker", broker.address]
    sent = subprocess.run([binary(), "produce", "honest", *at], input="line\n", capture_output=True, text=True, timeout=60, check=False)
    assert sent.returncode == 0, sent.stderr
    read = subprocess.run([binary(), "consume", "honest", "--count", "1", *at], capture_output=True, text=True, timeout=60, check=False)
    assert read.stdout == "line\n", read
    took = time.monotonic() - began
    assert took < within_s, f"an honest client waited {took:.1f} s"
    return took


def check_stalled_bodies(broker):
    before = rss(broker.process)
    peers = []
    for _ in range(STALLED):
        peer = connect(broker)
        peer.sendall(struct.pack(">i", 100_000_000) + b"\0" * 100)
        peers.append(peer)
    served(broker, 20)
    cost = rss(broker.process) - before
    assert cost < STALLED * KIB_PER_STALLED * 1024 + 8 * MIB, f"{STALLED} stalled bodies cost {cost >> 20} MiB"
    began = time.monotonic()
    for peer in peers:
        peer.settimeout(max(0.1, began + 45 - time.monotonic()))
        try:
            assert peer.recv(1) == b"", "an answer to nothing"
        except ConnectionResetError:
            pass
        peer.close()
    print(f"    {STALLED} stalled bodies cost {cost / STALLED / 1024:.1f} KiB each and were closed after {time.monotonic() - began:.0f} s")


def fetch(correlation_id, max_bytes):
    """Fetch 4 of topic `bulk`, partition 0, from its start."""
    topic = b"bulk"
    body = struct.pack(">hhih4s", 1, 4, correlation_id, 4, b"slow")
    body += struct.pack(">iiiib", -1, 0, 1, max_bytes, 0)
    body += struct.pack(">ih", 1, len(topic)) + topic + struct.pack(">iiqi", 1, 0, 0, max_bytes)
    return struct.pack(">i", len(body)) + body


def check_slow_readers(broker):
    lines = ("x" * 1000 + "\n") * 20_000
    at = ["--broker", broker.address]
    sent = subprocess.run([binary(), "produce", "bulk", *at], input=lines, capture_output=True, text=True, timeout=120, check=False)
    assert sent.returncode == 0, sent.stderr
    before = rss(broker.process)
    peers = []
    for _ in range(SLOW_READERS):
        peer = connect(broker)
        peer.sendall(b"".join(fetch(number, 16 * MIB) for number in range(50)))
        peers.append(peer)
    worst = 0
    for _ in range(5):
        time.sleep(1)
        worst = max(worst, rss(broker.process) - before)
        served(broker, 10)
    # What readers have not taken: a quarter of the shard's memory, and one answer above it.
    bound = (MEMORY // 4) + 16 * MIB + 64 * MIB
    assert worst < bound, f"{SLOW_READERS} readers that take nothing cost {worst >> 20} MiB"
    for peer in peers:
        peer.close()
    print(f"    {SLOW_READERS} readers that take nothing of 50 answers of 16 MiB cost {worst >> 20} MiB")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STALLED + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"hostile: {wanted} descriptors are needed and {hard} allowed; raise the limit: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with Broker("hostile", settings=[f"shard.memory.bytes={MEMORY}"]) as broker:
        check_stalled_bodies(broker)
        check_slow_readers(broker)
        assert broker.stop() < 10


if __name__ == "__main__":
    main()
