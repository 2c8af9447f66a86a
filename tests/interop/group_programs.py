"""Programs that anybody has at hand, in one group: kcat, Kafka's console consumer, and `millstream consume --group`. They share a
topic: each record is printed once, by whom the group says; who leaves has committed what it printed, and the others go on there."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time

from broker import binary, work_dir
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kafka_broker import java

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE.parents[1] / "target/env/node"
LINE = re.compile(r"^(?:Partition:)?(\d+)[\t ](?:Offset:)?(\d+)[\t ](\d+)$")


def kcat(broker, topic, group, *_):
    return ["kcat", "-b", broker, "-G", group, "-q", "-u", "-X", "auto.offset.reset=earliest", "-X", "partition.assignment.strategy=range",
            "-f", "%p %o %s\n", topic]


def console(broker, topic, group, protocol):
    properties = ["auto.offset.reset=earliest", f"group.protocol={protocol}"]
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


class Programs:
    """Programs of one group, each with a file of what it prints."""

    def __init__(self, broker, topic, group, partitions):
        self.broker, self.topic, self.group, self.partitions = broker, topic, group, partitions
        self.dir = work_dir("programs")
        self.running, self.outputs = {}, {}
        self.sent = 0

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
        while time.monotonic() < deadline:
            printed = self.printed()
            if len({place for places in printed.values() for place in places}) == self.sent:
                break
            time.sleep(0.2)
        every = [place for places in printed.values() for place in places]
        assert len(set(every)) == self.sent, f"{self.sent - len(set(every))} of {self.sent} records were not printed: {self.words()}"
        assert len(every) == self.sent, f"{len(every) - self.sent} records were printed twice"
        return {name: len(places) for name, places in printed.items()}

    def until_committed(self, within_s=20):
        """Some clients commit by the clock only, and not before they let go."""
        deadline = time.monotonic() + within_s
        while True:
            lines = [line.split() for line in self.describe().splitlines()]
            lags = [line[4] for line in lines if line and line[0] == self.topic and len(line) == 6]
            if lags == ["0"] * self.partitions:
                return
            assert time.monotonic() < deadline, self.describe()
            time.sleep(0.2)


def share(broker, group, protocol, members):
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
        counts = programs.until_printed()
        assert counts["millstream again"] > 0, counts
        print(f"    {group}: " + ", ".join(f"{count} by {name}" for name, count in counts.items()))


def run(broker, prefix=""):
    share(broker, f"{prefix}programs-classic", "classic", {"kcat": kcat, "console": console, "millstream": own})
    share(broker, f"{prefix}programs-consumer", "consumer", {"console": console, "other": own, "millstream": own})
    share(broker, f"{prefix}programs-own", "classic", {"other": own, "millstream": own})
    clients = {name: python(name) for name in ("confluent", "kafka-python", "aiokafka")}
    clients |= {name: node(name) for name in ("kafkajs", "platformatic")}
    share(broker, f"{prefix}programs-all", "classic", {"console": console, **clients, "millstream": own})
