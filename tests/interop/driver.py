"""The drivers of real clients: each is a process that is told what to do line by line (see drivers/README.md)."""

import json
import subprocess
import threading

from broker import ROOT
from kafka_broker import java

HERE = ROOT / "tests/interop"
ENV = ROOT / "target/env"
PYTHON, OLD_PYTHON = str(ENV / "python/bin/python"), str(ENV / "python-old/bin/python")
COMMANDS = {
    "confluent": [PYTHON, str(HERE / "drivers/confluent.py")],
    "kafka-python": [PYTHON, str(HERE / "drivers/kafka_python.py")],
    "kafka-python-2.3": [OLD_PYTHON, str(HERE / "drivers/kafka_python.py")],
    "aiokafka": [PYTHON, str(HERE / "drivers/aio.py")],
    "kcat": [PYTHON, str(HERE / "drivers/kcat.py")],
    "java": java("Driver"),
    "kafkajs": ["node", str(ENV / "node/kafkajs.mjs")],
    "platformatic": ["node", str(ENV / "node/platformatic.mjs")],
    "rdkafka": [str(ENV / "rust/debug/rdkafka")],
    "rskafka": [str(ENV / "rust/debug/rskafka")],
}


class Refused(Exception):
    """A client said no."""


class Driver:
    def __init__(self, name, address):
        self.name = name
        self.process = subprocess.Popen(
            [*COMMANDS[name], address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.about = None

    def learn(self):
        """What the client is; waits until it runs."""
        if not self.about:
            self.about = self.line(60)
        return self

    def can(self, what):
        return what not in self.about["cannot"]

    def line(self, seconds):
        """The next line, or an end of the process where it takes too long."""
        watch = threading.Timer(seconds, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if not line:
            raise Refused(f"{self.name} ended or said nothing for {seconds} s")
        return json.loads(line)

    def tell(self, act, **fields):
        self.process.stdin.write(json.dumps({"do": act, **fields}) + "\n")
        self.process.stdin.flush()

    def ask(self, act, within=90, **fields):
        self.tell(act, **fields)
        return self.answer(within)

    def answer(self, seconds=90):
        answer = self.line(seconds)
        if "error" in answer:
            raise Refused(f"{self.name}: {answer['error']}")
        return answer

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
