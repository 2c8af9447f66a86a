"""The load generator and partitions that move: of three nodes of Apache Kafka one is killed while two runs go on, comes back, and gets
again what it led."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench import LATE, run
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_broker import Cluster, java

PARTITIONS, SECONDS = 6, 26
# A node that is gone is noticed after the session.
SETTINGS = ("broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=300", "min.insync.replicas=2", "auto.leader.rebalance.enable=false")
RUNS = {"plain": (), "idempotent": ("--idempotent", "--in-flight", 5)}


def partitions(admin):
    found = [admin.list_topics(topic, timeout=20).topics[topic].partitions for topic in RUNS]
    return [each for topic in found for each in topic.values()]


def led(admin):
    """How many partitions node 2 leads."""
    return sum(each.leader == 2 for each in partitions(admin))


def until(what, holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def move(cluster, admin):
    """What happens to node 2."""
    node = cluster.nodes[1]
    time.sleep(3)
    node.kill()
    until("others lead", lambda: led(admin) == 0)
    node.start()
    until("node 2 is in sync again", lambda: all(len(each.isrs) == 3 for each in partitions(admin)))
    tool = ("org.apache.kafka.tools.LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
    done = subprocess.run(java(*tool, "--bootstrap-server", cluster.nodes[0].address), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    until("node 2 leads again", lambda: led(admin) == 2 * PARTITIONS // 3)
    return time.monotonic()


def load(cluster, topic):
    report = run(
        cluster.addresses, "--topic", topic, "--partitions", PARTITIONS, "--rate", 200, "--duration", SECONDS, "--connections", 1, "--consumers", 1,
        "--timeout", 15, *RUNS[topic], code=(0, 1, LATE),
    )
    return report["runs"][0], time.monotonic()


def check(topic, found):
    integrity, errors = found["integrity"], found["errors"]
    assert found["ended"] == "complete", found["ended"]
    for name in ("lost", "duplicated", "out_of_order", "corrupt", "unchecked"):
        assert integrity[name] == 0, (topic, integrity, errors)
    # What was under way to the node when it died has no answer, and may be there.
    assert 0 <= integrity["received"] - integrity["acknowledged"] <= integrity["unresolved"], (topic, integrity)
    if topic == "idempotent":
        assert integrity["sent"] == integrity["acknowledged"] == integrity["received"], (topic, integrity, errors)
    seconds = [second for second in found["seconds"] if second["phase"] == "measured"]
    rates = [second["produced"]["requests"] for second in seconds[-2:]]
    assert all(150 < rate < 250 for rate in rates), f"{topic}: the end does not have the rate that was due: {rates}"
    reconnects = sum(second["reconnects"] for second in found["seconds"])
    told = ", ".join(f"{error['count']} {error['name']}" for error in errors)
    print(f"    {topic}: of {integrity['sent']} records {integrity['unresolved']} without an answer, none lost; {reconnects} reconnects; {told}")


def main():
    with Cluster("bench-moves", 3, SETTINGS) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.addresses, "log_level": 0})
        for made in admin.create_topics([NewTopic(topic, PARTITIONS, 3) for topic in RUNS]).values():
            made.result(30)
        until("node 2 leads a third", lambda: led(admin) == 2 * PARTITIONS // 3)
        with ThreadPoolExecutor() as pool:
            runs = {topic: pool.submit(load, cluster, topic) for topic in RUNS}
            moved = pool.submit(move, cluster, admin).result()
            for topic, done in runs.items():
                found, ended = done.result()
                assert moved < ended - 4, f"the moves took too long for {SECONDS} s"
                check(topic, found)


if __name__ == "__main__":
    sys.exit(main())
