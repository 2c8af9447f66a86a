"""Apache Kafka itself: nodes that are broker and controller, formatted anew, and the classes of its jars."""

import pathlib
import shutil
import socket
import subprocess
import time

from broker import ROOT, free_port, work_dir

LIBS = ROOT / "target/env/kafka/libs"
CLASSES = ROOT / "target/env/classes"
QUIET = pathlib.Path(__file__).parent / "java/log4j2.xml"


def java(*arguments, heap="256m"):
    """The command that runs a class of Kafka's jars, or of `java/`."""
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={QUIET}"]
    return ["java", *options, "-cp", f"{CLASSES}:{LIBS}/*", *arguments]


def new_cluster_id():
    found = subprocess.run(java("kafka.tools.StorageTool", "random-uuid"), check=True, capture_output=True, text=True)
    return found.stdout.split()[-1]


class Kafka:
    def __init__(self, name, settings=()):
        self.dir = work_dir(name)
        self.log = self.dir / "log"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.settings = settings
        self.process = None

    def launch(self):
        self.format(new_cluster_id())
        self.start()

    def format(self, cluster):
        controller = free_port()
        properties = self.dir / "server.properties"
        lines = [
            "process.roles=broker,controller", "node.id=1", f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners=PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://{self.address}", "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", f"log.dirs={self.dir}/data",
            "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4", "group.initial.rebalance.delay.ms=0",
            "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", *self.settings,
        ]
        properties.write_text("\n".join(lines) + "\n")
        subprocess.run(java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)), check=True, capture_output=True)

    def start(self):
        with open(self.log, "ab") as log:
            command = java("kafka.Kafka", str(self.dir / "server.properties"), heap="512m")
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait(self, seconds=90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"Kafka ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"Kafka does not listen after {seconds} s: {self.log.read_text()[-2000:]}")

    def __enter__(self):
        self.launch()
        self.wait()
        return self

    def stop(self):
        """A stop in order."""
        self.process.terminate()
        self.process.wait(60)

    def kill(self):
        """kill -9, by pid."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Cluster:
    """Nodes with the ids 1 to `count`; what is replicated is on all of them."""

    def __init__(self, name, count, settings=()):
        self.nodes = [Kafka(f"{name}-{node}") for node in range(1, count + 1)]
        self.addresses = ",".join(node.address for node in self.nodes)
        controllers = [f"127.0.0.1:{free_port()}" for _ in self.nodes]
        voters = ",".join(f"{node}@{address}" for node, address in enumerate(controllers, 1))
        for number, (node, controller) in enumerate(zip(self.nodes, controllers), 1):
            node.settings = (
                f"node.id={number}", f"controller.quorum.voters={voters}",
                f"listeners=PLAINTEXT://{node.address},CONTROLLER://{controller}", f"offsets.topic.replication.factor={count}",
                f"transaction.state.log.replication.factor={count}", *settings,
            )

    def __enter__(self):
        cluster = new_cluster_id()
        for node in self.nodes:
            node.format(cluster)
            node.start()
        for node in self.nodes:
            node.wait()
        return self

    def __exit__(self, *ended):
        for node in self.nodes:
            node.__exit__(*ended)
