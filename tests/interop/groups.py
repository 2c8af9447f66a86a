"""Consumer groups with real clients: members that join and leave, are killed, paused past their session, and a broker that is
killed under them. Every record is read, none twice where nobody dies; no committed offset goes back; no partition has two
owners in one generation. Programs that are at hand share a topic (`group_programs.py`).

    groups.py [--shards N] [--seconds N] [--seed N]
"""

import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time

import group_programs
from broker import Broker, binary
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer

PARTITIONS = 8
TOPIC = "work"
SESSION_S = 6
KILL_EVERY_S = 30
SETTINGS = (
    "group.initial.rebalance.delay.ms=0", f"group.consumer.session.timeout.ms={SESSION_S * 1000}", "group.consumer.heartbeat.interval.ms=1000",
)


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
        # Who comes back within its session keeps what it has.
        "enable.auto.commit": False, "log_level": 2, "reconnect.backoff.max.ms": 500, **extra,
    })


def member(broker, group, extra, report, topic):
    """A consumer process: reports what it owns and from when to when, every record it has read, every commit that was
    acknowledged."""
    consumer = confluent(broker, group, extra)

    def owns(kind):
        # The clock is the same for all processes.
        return lambda _, places: report.put((kind, os.getpid(), (time.monotonic(), [one.partition for one in places])))

    consumer.subscribe([topic], on_assign=owns("assigned"), on_revoke=owns("revoked"), on_lost=owns("revoked"))
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    while not over:
        messages = [one for one in consumer.consume(200, 0.3) if not one.error()]
        if not messages:
            continue
        report.put(("read", os.getpid(), [int(one.value()) for one in messages]))
        ends = {one.partition(): one.offset() + 1 for one in messages}
        try:
            done = consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in ends.items()], asynchronous=False)
            report.put(("committed", os.getpid(), [(one.partition, one.offset) for one in done if not one.error]))
        except Exception:  # The partitions may be somebody else's by now.
            pass
    consumer.close()


def committed(broker, group, topic=TOPIC):
    admin = AdminClient({"bootstrap.servers": broker})
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    return {one.partition: one.offset for one in future.result(30).topic_partitions if one.topic == topic}


class Group:
    """The members of one group, each a process, and what they reported."""

    def __init__(self, broker, name, extra, topic=TOPIC):
        self.broker, self.name, self.extra, self.topic = broker, name, extra, topic
        self.report = multiprocessing.Queue()
        self.members, self.left, self.read, self.acknowledged = [], [], {}, {}
        self.paused = None
        # Who had which partition from when to when, and from when to when who could not know that it had it no more.
        self.owners, self.blind, self.broker_kills = {}, {}, []
        # From when to when this machine did nothing: sessions may be over then.
        self.stalls = []

    def join(self):
        arguments = (self.broker, self.name, self.extra, self.report, self.topic)
        process = multiprocessing.Process(target=member, args=arguments, daemon=True)
        process.start()
        self.members.append(process)
        return process

    def kill(self, process, how=signal.SIGKILL):
        """Ends a member (SIGTERM: it leaves in order), or pauses it."""
        now, blind = time.monotonic(), self.blind.setdefault(process.pid, [])
        if how in (signal.SIGKILL, signal.SIGSTOP):
            blind.append((now, float("inf")))
        elif how == signal.SIGCONT and blind:
            # Awake again, it works off what came before the pause until the coordinator tells it that it is out.
            blind[-1] = (blind[-1][0], now + SESSION_S)
        os.kill(process.pid, how)
        if how in (signal.SIGKILL, signal.SIGTERM):
            self.members.remove(process)
        if how == signal.SIGTERM:
            self.left.append(process)

    def listen(self):
        while True:
            try:
                kind, pid, what = self.report.get(timeout=0.02)
            except Exception:
                return
            if kind == "read":
                for number in what:
                    self.read[number] = self.read.get(number, 0) + 1
            elif kind == "committed":
                for partition, offset in what:
                    self.acknowledged[partition] = max(offset, self.acknowledged.get(partition, 0))
            else:
                self.owned(kind, pid, *what)

    def owned(self, kind, pid, at, partitions):
        for partition in partitions:
            spans = self.owners.setdefault(partition, [])
            if kind == "assigned":
                spans.append([at, float("inf"), pid])
                continue
            for span in spans:
                if span[2] == pid and span[1] == float("inf"):
                    span[1] = at

    def was_blind(self, begin, end, pid):
        return any(begin < last and first < end for first, last in self.blind.get(pid, []))

    def check_owners(self):
        """Nobody had a partition while another one had it, but for those who were killed or paused meanwhile."""
        for partition, spans in self.owners.items():
            last_end, last = 0, None
            for begin, end, pid in sorted(span for span in spans if not self.was_blind(*span)):
                since = [f"{begin - at:.1f} s" for at in self.broker_kills if at < begin][-1:]
                stalled = any(first - 1 < begin < last_of + SESSION_S for first, last_of in self.stalls)
                assert last_end <= begin or stalled, f"{self.name}: {last} and {pid} had partition {partition} for " \
                    f"{min(end, last_end) - begin:.3f} s together, {since} after a kill of the broker; all spans: {sorted(spans)}; " \
                    f"blind: {self.blind}"
                if end > last_end:
                    last_end, last = end, pid

    def until_read(self, count, within_s):
        deadline = time.monotonic() + within_s
        while len(self.read) < count and time.monotonic() < deadline:
            self.listen()
        missing = [number for number in range(count) if number not in self.read]
        assert not missing, f"{self.name}: {len(missing)} of {count} records were not read, the first is {missing[0]}"

    def leave(self):
        """All leave in order; what they had to report is known afterwards."""
        for process in list(self.members):
            self.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while any(process.is_alive() for process in self.left) and time.monotonic() < deadline:
            # They end when what they have to report is taken.
            self.listen()
        alive = [process.pid for process in self.left if process.is_alive()]
        assert not alive, f"{self.name}: members {alive} do not leave"
        self.listen()

    def end(self):
        for process in self.members + self.left:
            if process.is_alive():
                os.kill(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGKILL)


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
        group.leave()
    finally:
        group.end()
    print(f"    {name}: {COUNT} records by three members, {len(twice)} of them again after a move")


class Trouble:
    """One group to which something happens every second: members come and go, are killed, and are paused past their sessions."""

    def __init__(self, server, name, extra, rng):
        self.server, self.rng = server, rng
        create(server.address, name)
        produce(server.address, 0, COUNT, name)
        extra = {**extra} if extra.get("group.protocol") == "consumer" else {
            **extra, "session.timeout.ms": SESSION_S * 1000, "heartbeat.interval.ms": 1000,
        }
        self.group = Group(server.address, name, extra, name)
        self.sent, self.deeds = COUNT, collections.Counter()
        self.resumes_at = 0
        for _ in range(3):
            self.group.join()

    def act(self):
        group, rng, now = self.group, self.rng, time.monotonic()
        produce(self.server.address, self.sent, 100, group.topic)
        self.sent += 100
        if group.paused and now >= self.resumes_at:
            group.kill(group.paused, signal.SIGCONT)
            group.paused = None
            self.deeds["pauses"] += 1
        active = [one for one in group.members if one is not group.paused]
        if len(active) < 4:
            group.join()
            self.deeds["joins"] += 1
        elif group.paused is None and rng.random() < 0.15:
            group.paused = rng.choice(active)
            group.kill(group.paused, signal.SIGSTOP)
            self.resumes_at = now + SESSION_S + 2
        else:
            how = rng.choice([signal.SIGTERM, signal.SIGKILL])
            group.kill(rng.choice(active), how)
            self.deeds["leaves" if how == signal.SIGTERM else "kills"] += 1

    def check(self):
        self.group.listen()
        now = committed(self.server.address, self.group.name, self.group.topic)
        for partition, offset in self.group.acknowledged.items():
            assert now.get(partition, -1) >= offset, \
                f"{self.group.name}: partition {partition} is at {now.get(partition)}, {offset} was acknowledged"

    def end(self):
        if self.group.paused:
            self.group.kill(self.group.paused, signal.SIGCONT)
        self.group.until_read(self.sent, 120)
        self.group.leave()
        self.group.check_owners()
        told = ", ".join(f"{count} {deed}" for deed, count in sorted(self.deeds.items()))
        print(f"    {self.group.name}: {self.sent} records, {told}")


def watch_stalls(lists, over):
    """Notes when this machine stood still: the members' heartbeats did too, and sessions may be over afterwards."""
    last = time.monotonic()
    while not over.wait(0.1):
        now = time.monotonic()
        if now - last > SESSION_S / 3:
            print(f"    the machine stood still for {now - last:.1f} s")
            for stalls in lists:
                stalls.append((last, now))
        last = now


def in_trouble(server, kinds, seconds, rng):
    """Groups of all kinds at once, and the broker is killed under them: nothing acknowledged goes back, nobody shares."""
    troubles = [Trouble(server, f"trouble-{name}", extra, rng) for name, extra in kinds.items()]
    began, kills = time.monotonic(), 0
    over = threading.Event()
    watch = threading.Thread(target=watch_stalls, args=([one.group.stalls for one in troubles], over), daemon=True)
    watch.start()
    try:
        while time.monotonic() < began + seconds:
            turn = time.monotonic()
            for trouble in troubles:
                trouble.act()
            if turn - began > (kills + 1) * KILL_EVERY_S:
                for trouble in troubles:
                    trouble.group.broker_kills.append(turn)
                server.kill()
                server.start()
                kills += 1
            for trouble in troubles:
                trouble.check()
            time.sleep(max(0, turn + 1 - time.monotonic()))
        for trouble in troubles:
            trouble.end()
    finally:
        over.set()
        for trouble in troubles:
            trouble.group.end()
    print(f"    the broker was killed {kills} times in {seconds} s")


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


def static_members(broker):
    """A static member that comes back in time finds its partitions and disturbs nobody."""
    create(broker, "static")
    produce(broker, 0, 800, "static")
    for name, extra in KINDS.items():
        if name == "cooperative":
            continue
        moved = []

        def start(instance):
            consumer = confluent(broker, f"static-{name}", {**extra, "group.instance.id": instance})
            consumer.subscribe(["static"], on_assign=lambda _, places: moved.append(instance), on_revoke=lambda *_: moved.append(instance))
            return consumer

        def settle(consumers, wanted):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                for consumer in consumers:
                    consumer.consume(100, 0.1)
                shares = [{one.partition for one in consumer.assignment()} for consumer in consumers]
                if [len(share) for share in shares] == wanted:
                    return shares
            raise AssertionError(f"static-{name}: {shares}")

        first, second = start("one"), start("two")
        before = settle([first, second], [4, 4])
        moved.clear()
        first.close()
        first = start("one")
        after = settle([first, second], [4, 4])
        if name == "eager":
            assert before == after and "two" not in moved, f"static-{name}: {before} {after} {moved}"
        first.close()
        second.close()
    print("    static members come back to what they had")


def patterns(broker):
    """Subscriptions by pattern: topics that come later are read too."""
    for name, extra in KINDS.items():
        consumer = confluent(broker, f"pattern-{name}", {**extra, "topic.metadata.refresh.interval.ms": 500})
        consumer.subscribe([f"^pattern-{name}-.*"])
        read = set()
        for number in range(2):
            topic = f"pattern-{name}-{number}"
            create(broker, topic)
            produce(broker, number * 80, 80, topic)
            deadline = time.monotonic() + 60
            while len(read) < (number + 1) * 80 and time.monotonic() < deadline:
                read.update(int(one.value()) for one in consumer.consume(100, 0.2) if not one.error())
            assert len(read) == (number + 1) * 80, f"pattern-{name}: {len(read)} records of {number + 1} topics"
        consumer.close()
    print("    patterns find the topics of now and later, in each protocol")


KINDS = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=7, help="what happens to whom")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    multiprocessing.set_start_method("spawn")
    with Broker("groups", shards=args.shards, settings=SETTINGS) as server:
        create(server.address)
        produce(server.address, 0, COUNT)
        # Programs that are on their own run beside all this.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            beside = pool.submit(group_programs.run, server.address)
            for name, extra in KINDS.items():
                in_peace(server.address, f"peace-{name}", extra)
            together(server.address, COUNT)
            static_members(server.address)
            patterns(server.address)
            beside.result()
        in_trouble(server, KINDS, args.seconds, rng)
        command_line(server.address, "peace-eager")


if __name__ == "__main__":
    main()
