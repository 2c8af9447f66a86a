"""Programs that anybody has at hand, in one group: kcat, Kafka's console consumer, and `millstream consume --group`. They share a
topic: each record is printed once, by whom the group says; who leaves has committed what it printed, and the others go on there.

What a broker promises of it: a partition has one owner in a generation, who begins where the group committed. That the group's log
tells (`group_log.py`), and what clients print is held against it.
"""

import collections
import contextlib
import dataclasses
import itertools
import pathlib
import re
import signal
import subprocess
import sys
import time

import group_log
from broker import binary, work_dir
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_broker import java

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE.parents[1] / "target/env/node"
# Clients that do not give up a fetch under way when their group rebalances: @platformatic/kafka prints what comes of it, whoever has
# the partition by then, and once more what it then reads from the commit on. With Kafka 4.3.1 it does the same.
KEEP_FETCHING = {"platformatic"}
LINE = re.compile(r"^(?:Partition:)?(\d+)[\t ](?:Offset:)?(\d+)[\t ](\d+)$")


def client_id(name):
    """Member ids begin with it, and `range` goes by their order: where `millstream` comes and goes, all others change partitions."""
    return "millstream-consumer" if name == "millstream" else f"interop-{name}"


def kcat(broker, topic, group, *_):
    return ["kcat", "-b", broker, "-G", group, "-q", "-u", "-X", "auto.offset.reset=earliest", "-X", "partition.assignment.strategy=range",
            "-f", "%p %o %s\n", topic]


def console(broker, topic, group, protocol):
    properties = ["auto.offset.reset=earliest", f"group.protocol={protocol}", f"client.id={client_id('console')}"]
    command = ["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker, "--topic", topic, "--group", group]
    for each in properties:
        command += ["--command-property", each]
    for each in ("print.partition=true", "print.offset=true"):
        command += ["--formatter-property", each]
    return java(*command)


def own(broker, topic, group, protocol):
    return [binary(), "consume", topic, "--group", group, "--protocol", protocol, "--format", "%p %o %s\\n", "-b", broker]


def python(client):
    return lambda broker, topic, group, _: [sys.executable, str(HERE / "drivers/group_member.py"), client, broker, topic, group]


def node(client):
    return lambda broker, topic, group, _: ["node", str(NODE / "group_member.mjs"), client, broker, topic, group]


@dataclasses.dataclass
class Phase:
    """Records with numbers from `first` on were sent and read in this time, in which nobody was to come or go."""

    first: int
    began_s: float
    ended_s: float = float("inf")


class Programs:
    """Programs of one group, each with a file of what it prints."""

    def __init__(self, broker, topic, group, partitions):
        self.broker, self.topic, self.group, self.partitions = broker, topic, group, partitions
        self.dir = work_dir("programs")
        self.running, self.outputs = {}, {}
        self.sent, self.phases = 0, []

    def __enter__(self):
        admin = AdminClient({"bootstrap.servers": self.broker})
        admin.create_topics([NewTopic(self.topic, self.partitions, 1)])[self.topic].result(30)
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def start(self, name, command):
        self.outputs[name] = self.dir / f"{name}.out"
        with open(self.outputs[name], "wb") as out, open(self.dir / f"{name}.err", "wb") as err:
            self.running[name] = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    def end(self, name):
        process = self.running.pop(name)
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=20)

    def end_all(self):
        for process in self.running.values():
            process.send_signal(signal.SIGINT)
        for process in self.running.values():
            process.wait(timeout=20)

    def describe(self):
        done = subprocess.run([binary(), "group", "describe", self.group, "-b", self.broker], capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def until_stable(self, members, within_s=60):
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            shown = self.describe()
            shares = sorted(int(count) for count in re.findall(r"partitions: (\d+)$", shown, re.M))
            if "Stable" in shown and len(shares) == members and sum(shares) == self.partitions:
                assert shares[-1] - shares[0] <= 1, shown
                return
            time.sleep(0.2)
        raise AssertionError(f"{members} members do not settle: {self.describe()}\n{self.words()}")

    def words(self):
        return "\n".join(f"{name}: {(self.dir / f'{name}.err').read_text(errors='replace')[-400:]}" for name in self.outputs)

    def produce(self, count):
        self.phases.append(Phase(self.sent, time.time()))
        producer = Producer({"bootstrap.servers": self.broker, "enable.idempotence": True})
        for number in range(self.sent, self.sent + count):
            producer.produce(self.topic, value=str(number), partition=number % self.partitions)
            producer.poll(0)
        assert producer.flush(60) == 0
        self.sent += count

    def printed(self):
        """What each program has printed: places, by program."""
        printed = {}
        for name, path in self.outputs.items():
            lines = [LINE.match(line) for line in path.read_text(errors="replace").splitlines()]
            printed[name] = [(int(line[1]), int(line[2])) for line in lines if line]
        return printed

    def until_printed(self, within_s=60):
        deadline = time.monotonic() + within_s
        while True:
            printed = self.printed()
            missing = self.sent - len({place for places in printed.values() for place in places})
            if not missing:
                return {name: len(places) for name, places in printed.items()}
            assert time.monotonic() < deadline, f"{missing} of {self.sent} records were not printed: {self.words()}"
            time.sleep(0.2)

    def by_place(self):
        """How often who printed a record; a program that came back is who it was."""
        found = collections.defaultdict(collections.Counter)
        for name, places in self.printed().items():
            for place in places:
                found[place][name.removesuffix(" again")] += 1
        return found

    def check_printed_once(self):
        twice = {place: dict(who) for place, who in self.by_place().items() if who.total() > 1}
        assert not twice, f"{len(twice)} records were printed twice: {some(twice)}"
        return ""

    def check_printed_by_owners(self):
        """Each record is printed by the owner of its partition, once; but for clients that keep fetching. What was special."""
        log = group_log.generations(self.broker, self.group, self.topic)
        assert log, f"the log of {self.group} tells of no generation"
        owners = [(one.number, one.owners) for one in log]
        wrong, kept, moved = {}, 0, 0
        for place, who in self.by_place().items():
            partition, offset = place
            before, during = self.generations_of(log, offset * self.partitions + partition)
            for name, times in who.items():
                mine = client_id(name)
                # Twice where the partition came to it again, without a commit behind the record in between.
                lawful = sum(one.owners.get(partition) == mine and one.start.get(partition, 0) <= offset for one in during)
                if name in KEEP_FETCHING:
                    had = sum(one.owners.get(partition) == mine for one in before + during)
                    kept += max(0, min(times, had) - lawful)
                    lawful = max(lawful, had)
                if times > lawful:
                    wrong[place] = (dict(who), [one.number for one in during])
            moved += who.total() > 1 and not KEEP_FETCHING & set(who)
        assert not wrong, f"{len(wrong)} records were printed by whom they were not due to: {some(wrong)}; owners by generation: {owners}"
        told = {"of a fetch from before a rebalance": kept, "again after a rebalance that nobody asked for": moved}
        return "".join(f"; {count} {why}" for why, count in told.items() if count)

    def generations_of(self, log, number):
        """The generation before a record's phase, if there is one, and those in it: one, unless a client came back unasked."""
        phase = [one for one in self.phases if one.first <= number][-1]
        first = max(at for at, one in enumerate(log) if one.at_s <= phase.began_s)
        return log[max(0, first - 1):first], [one for at, one in enumerate(log) if at >= first and one.at_s <= phase.ended_s]

    def until_committed(self, within_s=20):
        """Some clients commit by the clock only, and not before they let go."""
        deadline = time.monotonic() + within_s
        while True:
            lines = [line.split() for line in self.describe().splitlines()]
            lags = [line[4] for line in lines if line and line[0] == self.topic and len(line) == 6]
            if lags == ["0"] * self.partitions:
                self.phases[-1].ended_s = time.time()
                return
            assert time.monotonic() < deadline, self.describe()
            time.sleep(0.2)


def some(found):
    """The first of many places, in order."""
    return dict(itertools.islice(sorted(found.items()), 5))


def share(broker, group, protocol, members, check=Programs.check_printed_once):
    partitions = 2 * len(members)
    with Programs(broker, group, group, partitions) as programs:
        for name, command in members.items():
            programs.start(name, command(broker, group, group, protocol))
        programs.until_stable(len(members))
        programs.produce(3000)
        counts = programs.until_printed()
        assert all(count >= 3000 // partitions for count in counts.values()), counts
        programs.until_committed()
        # One leaves in order: the others go on exactly where it stopped.
        assert programs.end("millstream") == 0, programs.words()
        programs.until_stable(len(members) - 1)
        programs.produce(1200)
        programs.until_printed()
        programs.until_committed()
        # It comes back.
        programs.start("millstream again", own(broker, group, group, protocol))
        programs.until_stable(len(members))
        programs.produce(1200)
        programs.until_printed()
        programs.until_committed()
        # Who would print something again does so until it ends.
        programs.end_all()
        special = check(programs)
        counts = programs.until_printed()
        assert counts["millstream again"] > 0, counts
        print(f"    {group}: " + ", ".join(f"{count} by {name}" for name, count in counts.items()) + special)


def run(broker, prefix=""):
    share(broker, f"{prefix}programs-classic", "classic", {"kcat": kcat, "console": console, "millstream": own})
    share(broker, f"{prefix}programs-consumer", "consumer", {"console": console, "other": own, "millstream": own})
    share(broker, f"{prefix}programs-own", "classic", {"other": own, "millstream": own})
    clients = {name: python(name) for name in ("confluent", "kafka-python", "aiokafka")}
    clients |= {name: node(name) for name in ("kafkajs", "platformatic")}
    everybody = {"console": console, **clients, "millstream": own}
    share(broker, f"{prefix}programs-all", "classic", everybody, Programs.check_printed_by_owners)
