"""Kafka's own command line tools against Millstream, from its jars, each with what it has to say."""

import json
import pathlib
import re
import subprocess
import tempfile
import threading
import time

from broker import Broker
from kafka_broker import java

TOPIC = "tools"


class Tools:
    """A process of the virtual machine that runs one tool after the other."""

    def __init__(self, broker):
        self.at = ["--bootstrap-server", broker.address]
        self.process = subprocess.Popen(java("Tools"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def run(self, tool, *arguments, text="", seconds=60, fails=False):
        self.process.stdin.write(json.dumps({"tool": tool, "arguments": arguments, "input": text}) + "\n")
        self.process.stdin.flush()
        watch = threading.Timer(seconds, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        assert line, f"{tool} {arguments}: no end after {seconds} s"
        done = json.loads(line)
        assert (done["code"] != 0) == fails, f"{tool} {arguments}: {done['code']}: {done['output'][-800:]}"
        return done["output"]

    def topics(self, *arguments, **how):
        return self.run("org.apache.kafka.tools.TopicCommand", *self.at, *arguments, **how)

    def configs(self, *arguments, **how):
        return self.run("kafka.admin.ConfigCommand", *self.at, "--entity-type", "topics", "--entity-name", TOPIC, *arguments, **how)

    def offsets(self, *arguments):
        return self.run("org.apache.kafka.tools.GetOffsetShell", *self.at, "--topic", TOPIC, *arguments).split()

    def produce(self, lines, *arguments):
        return self.run("org.apache.kafka.tools.ConsoleProducer", *self.at, "--topic", TOPIC, *arguments, text=lines)

    def consume(self, count, *arguments):
        options = ["--topic", TOPIC, "--max-messages", str(count), "--timeout-ms", "20000", *arguments]
        return self.run("org.apache.kafka.tools.consumer.ConsoleConsumer", *self.at, *options)


def holds(text, *words):
    for word in words:
        assert word in text, f"`{word}` is not in: {text[-1500:]}"


def check_topics(tools):
    """kafka-topics: creation, refusal, list, description, more partitions."""
    made = tools.topics("--create", "--topic", TOPIC, "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=86400000")
    holds(made, f"Created topic {TOPIC}")
    holds(tools.topics("--create", "--topic", TOPIC, fails=True), "already exists")
    assert TOPIC in tools.topics("--list").split()
    described = tools.topics("--describe", "--topic", TOPIC)
    holds(described, "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=86400000")
    assert len(re.findall(r"Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)) == 3, described
    tools.topics("--alter", "--topic", TOPIC, "--partitions", "4")
    holds(tools.topics("--describe", "--topic", TOPIC), "PartitionCount: 4")
    holds(tools.topics("--alter", "--topic", TOPIC, "--partitions", "2", fails=True), "Error while executing topic command")
    print("    kafka-topics: create, refuse, list, describe, more partitions")


def check_configs(tools):
    """kafka-configs: set, append, tell, delete, refuse."""
    holds(tools.configs("--alter", "--add-config", "max.message.bytes=2000000,cleanup.policy=[compact,delete]"), "Completed updating config")
    told = tools.configs("--describe")
    holds(told, "max.message.bytes=2000000", "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000", "cleanup.policy=compact,delete")
    everything = tools.configs("--describe", "--all")
    holds(everything, "segment.bytes=1073741824", "compression.type=producer", "retention.ms=86400000")
    tools.configs("--alter", "--delete-config", "cleanup.policy")
    assert "cleanup.policy" not in tools.configs("--describe")
    holds(tools.configs("--alter", "--add-config", "retention.ms=soon", fails=True), "retention.ms")
    holds(tools.configs("--alter", "--add-config", "no.such.key=1", fails=True), "no.such.key")
    print("    kafka-configs: set, append, describe, delete, refuse")


def check_console(tools):
    """The console producer and consumer: keys, headers, codecs, idempotence."""
    lines = "".join(f"source:console\tkey {number}\tvalue {number}\n" for number in range(20))
    properties = ["parse.headers=true", "parse.key=true"]
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        options = ["--compression-codec", codec]
        for each in properties:
            options += ["--reader-property", each]
        tools.produce(lines, *options)
    ends = tools.offsets()
    total = sum(int(line.rpartition(":")[2]) for line in ends)
    assert total == 100, ends
    seen = []
    for partition in range(4):
        count = next(int(line.rpartition(":")[2]) for line in ends if line.startswith(f"{TOPIC}:{partition}:"))
        if count:
            options = ["--partition", str(partition), "--offset", "earliest"]
            for each in ("print.key=true", "print.headers=true", "print.offset=true"):
                options += ["--formatter-property", each]
            seen += [line for line in tools.consume(count, *options).splitlines() if line.startswith("Offset:")]
    assert len(seen) == 100 and all("source:console" in line for line in seen), seen[:3]
    assert sorted({line.split("\t")[-1] for line in seen}) == sorted({f"value {number}" for number in range(20)}), seen[:3]
    print("    console producer and consumer: 5 codecs, keys, headers")


def check_perf(tools):
    """The producer's perf test: every record is acknowledged."""
    for codec in ("none", "lz4"):
        told = tools.run(
            "org.apache.kafka.tools.ProducerPerformance", *tools.at, "--topic", TOPIC, "--num-records", "20000", "--record-size", "500",
            "--throughput", "-1", "--command-property", f"compression.type={codec}",
        )
        holds(told, "20000 records sent", "99th")
    total = sum(int(line.rpartition(":")[2]) for line in tools.offsets())
    assert total == 40_100, total
    print("    producer-perf-test: 40,000 records")


def check_offsets(tools):
    """kafka-get-offsets: earliest, latest, by time, the largest timestamp."""
    latest = tools.offsets("--time", "latest")
    assert tools.offsets() == latest and len(latest) == 4, latest
    assert sorted(tools.offsets("--time", "earliest")) == [f"{TOPIC}:{partition}:0" for partition in range(4)]
    assert sorted(tools.offsets("--time", "0")) == [f"{TOPIC}:{partition}:0" for partition in range(4)]
    newest = tools.offsets("--time", "max-timestamp")
    assert all(int(line.rpartition(":")[2]) >= 0 for line in newest) and len(newest) == 4, newest
    print("    kafka-get-offsets: earliest, latest, by time, max-timestamp")


def check_delete_records(tools):
    """kafka-delete-records: the log starts later for everybody."""
    wanted = {"partitions": [{"topic": TOPIC, "partition": 0, "offset": 5}], "version": 1}
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "offsets.json"
        path.write_text(json.dumps(wanted))
        told = tools.run("org.apache.kafka.tools.DeleteRecordsCommand", *tools.at, "--offset-json-file", str(path))
    holds(told, "partition: tools-0\tlow_watermark: 5")
    assert f"{TOPIC}:0:5" in tools.offsets("--time", "earliest")
    seen = tools.consume(1, "--partition", "0", "--offset", "earliest", "--formatter-property", "print.offset=true")
    holds(seen, "Offset:5")
    print("    kafka-delete-records")


def check_deletion(tools):
    tools.topics("--delete", "--topic", TOPIC)
    deadline = time.monotonic() + 10
    while TOPIC in tools.topics("--list").split():
        assert time.monotonic() < deadline, "a deleted topic is still listed"
    holds(tools.topics("--describe", "--topic", TOPIC, fails=True), "does not exist")
    print("    kafka-topics: delete")


def main():
    with Broker("tools", shards=2) as broker:
        with Tools(broker) as tools:
            for check in (check_topics, check_configs, check_console, check_perf, check_offsets, check_delete_records, check_deletion):
                check(tools)


if __name__ == "__main__":
    main()
