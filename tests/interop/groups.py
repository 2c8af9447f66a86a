"""Consumer groups with real clients: members that join and leave, are killed, paused past their session, and a broker that is
killed under them. Every record is read, none twice where nobody dies; no committed offset goes back; no partition has two
owners in one generation. Programs that are at hand share a topic (`group_programs.py`).

    groups.py [--shards N] [--seconds N]
"""

import argparse
import multiprocessing
import os
import random
import signal
import subprocess
import time

import group_programs
from broker import Broker, binary
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer

PARTITIONS = 8
TOPIC = "work"
SETTINGS = ("group.initial.rebalance.delay.ms=0",)


def create(broker, topic=TOPIC):
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)


def produce(broker, first, count, topic=TOPIC):
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "message.timeout.ms": 120000})
    failures = []
    for number in range(first, first + count):
        producer.produce(topic, value=str(number), partition=number % PARTITIONS,
                         on_delivery=lambda error, _: error and failures.append(str(error)))
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0 and not failures, failures[:1]


def confluent(broker, group, extra):
    return Consumer({
        "bootstrap.servers": broker, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "log_level": 2, **extra,
    })


def member(broker, group, extra, report, quota):
    """A consumer process: reports every record it has read and every commit that was acknowledged, until it has read `quota`
    records or for ever."""
    consumer = confluent(broker, group, extra)
    consumer.subscribe([TOPIC])
    read = 0
    while quota is None or read < quota:
        messages = consumer.consume(200, 0.3)
        numbers = [int(one.value()) for one in messages if not one.error()]
        if not numbers:
            continue
        read += len(numbers)
        report.put(("read", os.getpid(), numbers))
        ends = {}
        for one in messages:
            if not one.error():
                ends[one.partition()] = one.offset() + 1
        try:
            done = consumer.commit(offsets=[TopicPartition(TOPIC, p, o) for p, o in ends.items()], asynchronous=False)
            report.put(("committed", os.getpid(), [(one.partition, one.offset) for one in done if not one.error]))
        except Exception:  # The partitions may be somebody else's by now.
            pass
    consumer.close()


def committed(broker, group):
    admin = AdminClient({"bootstrap.servers": broker})
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    return {one.partition: one.offset for one in future.result(30).topic_partitions if one.topic == TOPIC}


class Group:
    """The members of one group, each a process, and what they reported."""

    def __init__(self, broker, name, extra):
        self.broker, self.name, self.extra = broker, name, extra
        self.report = multiprocessing.Queue()
        self.members, self.read, self.acknowledged = [], {}, {}

    def join(self):
        process = multiprocessing.Process(target=member, args=(self.broker, self.name, self.extra, self.report, None), daemon=True)
        process.start()
        self.members.append(process)
        return process

    def kill(self, process, how=signal.SIGKILL):
        os.kill(process.pid, how)
        if how == signal.SIGKILL:
            process.join(10)
            self.members.remove(process)

    def listen(self):
        while True:
            try:
                kind, pid, what = self.report.get(timeout=0.05)
            except Exception:
                return
            if kind == "read":
                for number in what:
                    self.read[number] = self.read.get(number, 0) + 1
            else:
                for partition, offset in what:
                    self.acknowledged[partition] = max(offset, self.acknowledged.get(partition, 0))

    def until_read(self, count, within_s):
        deadline = time.monotonic() + within_s
        while len(self.read) < count and time.monotonic() < deadline:
            self.listen()
        missing = [number for number in range(count) if number not in self.read]
        assert not missing, f"{self.name}: {len(missing)} of {count} records were not read, the first is {missing[0]}"

    def end(self):
        for process in list(self.members):
            try:
                os.kill(process.pid, signal.SIGCONT)
                self.kill(process)
            except ProcessLookupError:
                pass


def in_peace(broker, name, extra):
    """Three members, nobody dies: every record is read exactly once."""
    group = Group(broker, name, extra)
    for _ in range(3):
        group.join()
    try:
        group.until_read(COUNT, 90)
        time.sleep(1)
        group.listen()
        twice = [number for number, times in group.read.items() if times > 1]
        # A partition that moves while its records are read is read again from its last commit, by design.
        assert len(twice) < COUNT // 10, f"{name}: {len(twice)} records were read more than once"
    finally:
        group.end()
    print(f"    {name}: {COUNT} records by three members, {len(twice)} of them again after a move")


def in_trouble(server, name, extra, seconds, rng):
    """Members are killed, paused past their sessions and replaced, the broker is killed: nothing acknowledged goes back."""
    extra = {**extra}
    if extra.get("group.protocol") != "consumer":
        extra["session.timeout.ms"] = 6000
    group = Group(server.address, name, extra)
    for _ in range(3):
        group.join()
    paused, sent, deeds = [], COUNT, {"kill": 0, "pause": 0, "broker": 0}
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            produce(server.address, sent, 400, TOPIC)
            sent += 400
            deed = rng.choice(["kill", "kill", "pause", "resume", "broker", "rest", "rest"])
            if deed == "kill" and len(group.members) > 1:
                group.kill(rng.choice([one for one in group.members if one not in paused] or group.members))
                paused = [one for one in paused if one in group.members]
                group.join()
            elif deed == "pause" and not paused:
                paused.append(rng.choice(group.members))
                group.kill(paused[0], signal.SIGSTOP)
            elif deed == "resume" and paused:
                group.kill(paused.pop(), signal.SIGCONT)
            elif deed == "broker":
                server.kill()
                server.start()
            if deed in deeds:
                deeds[deed] += 1
            time.sleep(rng.uniform(0.2, 1.5))
            group.listen()
            now = committed(server.address, name)
            for partition, offset in group.acknowledged.items():
                assert now.get(partition, -1) >= offset, \
                    f"{name}: partition {partition} is at {now.get(partition)}, {offset} was acknowledged"
        for one in paused:
            group.kill(one, signal.SIGCONT)
        group.until_read(sent, 120)
    finally:
        group.end()
    print(f"    {name}: {sent} records, {deeds['kill']} kills, {deeds['pause']} pauses, {deeds['broker']} kills of the broker")
    return sent


def together(broker, count):
    """Different clients in one group, and the command line looks on."""
    name = "mixed"
    other = KafkaConsumer(TOPIC, bootstrap_servers=broker, group_id=name, auto_offset_reset="earliest",
                          partition_assignment_strategy=KafkaConsumer.DEFAULT_CONFIG["partition_assignment_strategy"][:1])
    mine = confluent(broker, name, {"partition.assignment.strategy": "range"})
    mine.subscribe([TOPIC])
    read, by = set(), {"kafka-python": 0, "confluent": 0}
    deadline = time.monotonic() + 90
    while len(read) < count and time.monotonic() < deadline:
        for records in other.poll(timeout_ms=200).values():
            read.update(int(one.value) for one in records)
            by["kafka-python"] += len(records)
        numbers = [int(one.value()) for one in mine.consume(500, 0.2) if not one.error()]
        read.update(numbers)
        by["confluent"] += len(numbers)
    assert len(read) == count, f"mixed: {count - len(read)} records are missing"
    shown = subprocess.run([binary(), "group", "describe", name, "--broker", broker], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0 and "Stable" in shown.stdout, shown.stdout + shown.stderr
    other.close()
    mine.close()
    print(f"    mixed: {by['kafka-python']} by kafka-python, {by['confluent']} by confluent-kafka")


def command_line(broker, group):
    """millstream group: list, describe, reset-offsets, delete."""
    def run(*args):
        done = subprocess.run([binary(), "group", *args, "--broker", broker], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr
    code, text = run("list")
    assert code == 0 and group in text, text
    before = committed(broker, group)
    code, text = run("reset-offsets", group, "--to-earliest")
    assert code == 0 and "nothing is done yet" in text, text
    assert committed(broker, group) == before, "a dry run has moved the group"
    code, text = run("reset-offsets", group, "--to-earliest", "--execute")
    assert code == 0, text
    assert set(committed(broker, group).values()) == {0}, committed(broker, group)
    code, text = run("reset-offsets", group, "--shift-by", "5", "--partition", "0", "--execute")
    assert code == 0 and committed(broker, group)[0] == 5, text
    code, text = run("delete", group)
    assert code == 0, text
    code, text = run("describe", group)
    assert code == 1 and "there is no group" in text, text
    print("    millstream group: listed, moved, deleted")


COUNT = 8000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=25)
    args = parser.parse_args()
    rng = random.Random(7)
    multiprocessing.set_start_method("spawn")
    with Broker("groups", shards=args.shards, settings=SETTINGS) as server:
        create(server.address)
        produce(server.address, 0, COUNT)
        kinds = {
            "eager": {"partition.assignment.strategy": "range"},
            "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
            "consumer": {"group.protocol": "consumer"},
        }
        for name, extra in kinds.items():
            in_peace(server.address, f"peace-{name}", extra)
        together(server.address, COUNT)
        group_programs.run(server.address)
        for name, extra in kinds.items():
            # Each group reads from the beginning; numbers go on where the last one ended.
            in_trouble_topic(server, f"trouble-{name}", extra, args.seconds, rng)
        command_line(server.address, "peace-eager")


def in_trouble_topic(server, name, extra, seconds, rng):
    """A topic of its own for each trouble, so that the numbers begin anew."""
    global TOPIC
    former, TOPIC = TOPIC, name
    os.environ["GROUPS_TOPIC"] = name
    create(server.address, name)
    produce(server.address, 0, COUNT, name)
    try:
        in_trouble(server, name, extra, seconds, rng)
    finally:
        TOPIC = former
        os.environ.pop("GROUPS_TOPIC", None)


# A member is another process, which has its topic from the environment.
TOPIC = os.environ.get("GROUPS_TOPIC", TOPIC)

if __name__ == "__main__":
    main()
