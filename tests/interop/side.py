"""One of the two brokers of the differential run: asks, keeps what it hears, and names what cannot be equal.

Always: what a rule does to one side it does to the other; a step of a rule has a name of its own.
"""

import contextlib
import time
import uuid

import records
from wire import Connection, Malformed, keys, request

ZERO = str(uuid.UUID(int=0))
UNKNOWN = str(uuid.UUID(int=0x1234))
SILENCE_S = 8
NEAR = 10 * 60 * 1000


class Side:
    def __init__(self, name, address):
        self.name, self.address = name, address
        self.port = int(address.rpartition(":")[2])
        self.ids, self.heard, self.rule = {}, {}, ""
        with Connection(address) as connection:
            ranges = connection.ask("ApiVersions", 4, {"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1"})
        self.ranges = {each["ApiKey"]: range(each["MinVersion"], each["MaxVersion"] + 1) for each in ranges["ApiKeys"]}
        self.advertised = self.kafkas = self.ranges
        self.connection = None
        self.settle()

    def settle(self):
        """Waits until it gives producer ids: Kafka listens before it does."""
        deadline = time.monotonic() + 60
        with Connection(self.address) as connection:
            while connection.ask("InitProducerId", 0, {"TransactionalId": None, "TransactionTimeoutMs": 1000})["ErrorCode"]:
                assert time.monotonic() < deadline, f"{self.name} gives no producer ids"
                time.sleep(0.1)

    def begin(self, rule):
        """A rule begins: with a connection of its own and nothing heard."""
        self.close()
        self.rule, self.heard = rule, {}
        self.connection = Connection(self.address, SILENCE_S)

    def close(self):
        if self.connection:
            self.connection.socket.close()

    def versions(self, api, low=0):
        """What Millstream advertises of an API, from `low` on; both sides are asked the same."""
        return [version for version in self.advertised.get(keys()[api], []) if version >= low]

    def newest(self, api):
        return self.versions(api)[-1]

    def keep(self, step, value):
        name = f"{self.rule}/{step}"
        assert name not in self.heard, f"{name} is asked twice"
        self.heard[name] = value

    def ask(self, step, api, version, message, client_id="differential"):
        """Asks, keeps the answer under the name of the step, and gives it as it came."""
        try:
            answer = self.connection.ask(api, version, message, client_id)
        except EOFError:
            self.connection = Connection(self.address, SILENCE_S)
            self.keep(step, "closed")
            return None
        except TimeoutError:
            self.connection = Connection(self.address, SILENCE_S)
            self.keep(step, "silence")
            return None
        except Malformed as error:
            self.connection = Connection(self.address, SILENCE_S)
            self.keep(step, f"malformed: {error}")
            return None
        self.keep(step, self.named(answer))
        return answer

    def quietly(self, api, message, version=None):
        """Asks without keeping anything."""
        return self.connection.ask(api, self.newest(api) if version is None else version, message)

    def raw(self, step, data, timeout=2):
        """Sends bytes on a connection of its own; keeps whether an answer came, the end, or nothing."""
        with Connection(self.address, timeout) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(data)
            try:
                self.keep(step, connection.frame().hex())
            except EOFError:
                self.keep(step, "closed")
            except TimeoutError:
                self.keep(step, "silence")

    def frame(self, api, version, message, client_id="differential"):
        return request(api, version, 7, message, client_id)

    def named(self, value, field=""):
        """The answer with names for what is random or of this broker only."""
        if isinstance(value, dict):
            return {name: self.named(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.named(inner, field) for inner in value]
        if field == "Records" and value:
            return [self.named(batch, "Batch") for batch in records.read(value)]
        if field in ("TopicId", "TopicIds"):
            return "zero" if value == ZERO else next((f"id of {name}" for name, id_ in self.ids.items() if id_ == value), "an id")
        if field == "ClusterId" and value:
            return "a cluster"
        if field == "Host" and value:
            return "a host"
        if field == "Port" and value == self.port:
            return "its port"
        if field in ("ErrorMessage", "TopicConfigErrorMessage") and value:
            return "a text"
        if field == "BatchIndexErrorMessage" and value:
            return "a text"
        if field == "SessionId" and value:
            return "a session"
        if field == "ProducerId" and self.rule.startswith("produce.producer_ids") and value >= 0:
            return "an id"
        if isinstance(value, int) and abs(value - time.time() * 1000) < NEAR:
            return "now"
        return value

    # What most rules need.

    def topic(self, name, partitions=1, configs=None):
        """Makes a topic and waits until it can be used."""
        wanted = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1}
        wanted["Configs"] = [{"Name": key, "Value": value} for key, value in (configs or {}).items()]
        made = self.quietly("CreateTopics", {"Topics": [wanted], "timeoutMs": 10_000})
        assert made["Topics"][0]["ErrorCode"] == 0, f"{self.name} does not make {wanted}: {made}"
        self.learn(name, partitions)

    def remove(self, name):
        """Deletes a topic."""
        gone = self.quietly("DeleteTopics", {"TopicNames": [name], "TimeoutMs": 5000}, 1)
        assert gone["Responses"][0]["ErrorCode"] == 0, f"{self.name} does not delete {name}: {gone}"

    def learn(self, name, partitions):
        """Waits until a topic can be used, and knows its id."""
        deadline = time.monotonic() + 20
        while True:
            version = self.newest("Metadata")
            found = self.quietly("Metadata", {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]
            led = [each for each in found["Partitions"] if each["LeaderId"] >= 0]
            if found["ErrorCode"] == 0 and len(led) == partitions and self.readable(name, partitions):
                break
            assert time.monotonic() < deadline, f"{self.name}: {name} cannot be used: {found}"
            time.sleep(0.02)
        if version >= 10:
            self.ids[name] = found["TopicId"]

    def readable(self, name, partitions):
        """Whether the logs are there: Kafka tells leaders before it has made them."""
        parts = [{"PartitionIndex": partition, "Timestamp": -1} for partition in range(partitions)]
        answer = self.quietly("ListOffsets", {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": parts}]}, 1)
        return all(each["ErrorCode"] == 0 for each in answer["Topics"][0]["Partitions"])

    def id(self, name):
        return self.ids.get(name, ZERO)

    def produce(self, topic, data, partition=0, acks=-1, topic_id=None):
        """A Produce request of one partition."""
        part = {"Index": partition, "Records": data}
        named = {"Name": topic, "TopicId": topic_id or self.id(topic), "PartitionData": [part]}
        return {"TransactionalId": None, "Acks": acks, "TimeoutMs": 5000, "TopicData": [named]}

    def fill(self, topic, *batches, partition=0):
        """Appends batches; all of them must be taken."""
        for data in batches:
            done = self.quietly("Produce", self.produce(topic, data, partition))
            part = done["Responses"][0]["PartitionResponses"][0]
            assert part["ErrorCode"] == 0, f"{self.name}: {topic}: {part}"

    def fetch(self, topic, offset=0, partition=0, topic_id=None, part=None, **fields):
        """A Fetch request of one partition."""
        wanted = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20, **(part or {})}
        named = {"Topic": topic, "TopicId": topic_id or self.id(topic), "Partitions": [wanted]}
        return {"MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1 << 24, "Topics": [named], **fields}

    def list_offsets(self, topic, timestamp, partition=0, isolation=0, epoch=-1):
        part = {"PartitionIndex": partition, "Timestamp": timestamp, "CurrentLeaderEpoch": epoch}
        return {"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [{"Name": topic, "Partitions": [part]}], "TimeoutMs": 1000}


def flat(value, path=""):
    """Every leaf of an answer by its path."""
    if isinstance(value, dict):
        found = {}
        for name, inner in value.items():
            found |= flat(inner, f"{path}.{name}" if path else name)
        return found or {path: {}}
    if isinstance(value, list):
        found = {}
        for number, inner in enumerate(value):
            found |= flat(inner, f"{path}.{number}")
        return found or {path: []}
    return {path: value}
