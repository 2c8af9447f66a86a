"""Configurations, partitions, the cluster, producers: rules D1, D2, M9, M11, M12, M13."""

import time

from records import batch

TOPIC, BROKER = 2, 4
CONFIGS = {
    "cleanup.policy": "compact", "retention.ms": "12345", "max.message.bytes": "5000", "compression.type": "zstd",
    "message.timestamp.type": "LogAppendTime", "unclean.leader.election.enable": "true", "min.cleanable.dirty.ratio": "0.25",
}


def described(side, step, version, kind, name, wanted=None, synonyms=True, documentation=True):
    message = {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": wanted}]}
    message |= {"IncludeSynonyms": synonyms, "IncludeDocumentation": documentation}
    answer = side.quietly("DescribeConfigs", message, version)
    for result in answer["Results"]:
        for entry in result["Configs"]:
            if entry.get("Documentation"):
                entry["Documentation"] = "a text"
        result["Configs"] = {entry["Name"]: entry for entry in result["Configs"]}
    side.keep(step, side.named(answer))


def topic_configs(side):
    """D1: all keys of a topic, set or not, with synonyms, types and texts, in every version."""
    side.topic("described")
    side.topic("described-set", configs=CONFIGS)
    for version in side.versions("DescribeConfigs"):
        for name in ("described", "described-set"):
            described(side, f"version {version}: {name}", version, TOPIC, name)
            described(side, f"version {version}: {name}, empty list", version, TOPIC, name, [])
            described(side, f"version {version}: {name}, some", version, TOPIC, name, ["retention.ms", "no.such", "cleanup.policy"])
            described(side, f"version {version}: {name}, plain", version, TOPIC, name, None, False, False)
        described(side, f"version {version}: unknown topic", version, TOPIC, "described-no")
        described(side, f"version {version}: bad name", version, TOPIC, "a b")
        described(side, f"version {version}: empty name", version, TOPIC, "")


def broker_configs(side):
    """D1: the broker's own keys, for those that both have, and the refusals."""
    common = [
        "node.id", "num.partitions", "auto.create.topics.enable", "default.replication.factor", "delete.topic.enable", "message.max.bytes",
        "log.retention.ms", "log.retention.hours", "log.segment.bytes", "min.insync.replicas", "compression.type",
    ]
    for version in side.versions("DescribeConfigs"):
        described(side, f"version {version}: some", version, BROKER, "1", common)
        for name in ("7", "one", ""):
            described(side, f"version {version}: broker {name or 'default'}", version, BROKER, name, ["num.partitions"])
        described(side, f"version {version}: type 99", version, 99, "x")
        described(side, f"version {version}: type 0", version, 0, "x")


def creation_configs(side):
    """M9: the configuration that a creation tells."""
    for version in side.versions("CreateTopics", 5):
        for name, configs in {"plain": {}, "set": CONFIGS}.items():
            topic = {"Name": f"told-{version}-{name}", "NumPartitions": 1, "ReplicationFactor": 1}
            topic["Configs"] = [{"Name": key, "Value": value} for key, value in configs.items()]
            answer = side.quietly("CreateTopics", {"Topics": [topic], "timeoutMs": 5000}, version)
            told = answer["Topics"][0]["Configs"]
            side.keep(f"version {version}: {name}", {entry["Name"]: entry for entry in told or []})


def altered(side, step, version, *changes, topic="altered", kind=TOPIC, only=False):
    configs = [{"Name": key, "ConfigOperation": operation, "Value": value} for key, operation, value in changes]
    message = {"Resources": [{"ResourceType": kind, "ResourceName": topic, "Configs": configs}], "ValidateOnly": only}
    side.ask(f"version {version}: {step}", "IncrementalAlterConfigs", version, message)
    if kind == TOPIC and not only:
        time.sleep(0.05)  # Kafka's own description is late.
        keys = ["retention.ms", "cleanup.policy", "segment.bytes", "leader.replication.throttled.replicas", "retention.bytes"]
        described(side, f"version {version}: {step}, afterwards", side.newest("DescribeConfigs"), TOPIC, topic, keys, False, False)


def incremental_configs(side):
    """D2: every operation, good and bad."""
    set_, delete, append, subtract = range(4)
    side.topic("altered")
    for version in side.versions("IncrementalAlterConfigs"):
        altered(side, "set", version, ("retention.ms", set_, "1000"), ("cleanup.policy", set_, "compact"))
        altered(side, "delete", version, ("retention.ms", delete, None))
        altered(side, "delete what is not set", version, ("retention.ms", delete, None))
        altered(side, "delete with a value", version, ("retention.ms", delete, "5"))
        altered(side, "append", version, ("cleanup.policy", append, "delete"))
        altered(side, "append again", version, ("cleanup.policy", append, "delete"))
        altered(side, "subtract", version, ("cleanup.policy", subtract, "compact"))
        altered(side, "subtract what is not there", version, ("cleanup.policy", subtract, "compact"))
        altered(side, "append to a list that is not set", version, ("leader.replication.throttled.replicas", append, "0:1"))
        altered(side, "delete the list", version, ("leader.replication.throttled.replicas", delete, None), ("cleanup.policy", delete, None))
        altered(side, "append to the default", version, ("cleanup.policy", append, "compact"))
        altered(side, "back", version, ("cleanup.policy", delete, None))
        altered(side, "append to a number", version, ("retention.ms", append, "1"))
        altered(side, "subtract from a number", version, ("retention.ms", subtract, "1"))
        altered(side, "set without a value", version, ("retention.ms", set_, None))
        altered(side, "append without a value", version, ("cleanup.policy", append, None))
        altered(side, "set to nothing", version, ("retention.ms", set_, ""))
        altered(side, "unknown operation", version, ("retention.ms", 9, "1"))
        altered(side, "unknown key", version, ("no.such.key", set_, "1"))
        altered(side, "delete an unknown key", version, ("no.such.key", delete, None))
        altered(side, "empty key", version, ("", set_, "1"))
        altered(side, "a key twice", version, ("retention.ms", set_, "1"), ("retention.ms", set_, "2"))
        altered(side, "bad number", version, ("retention.ms", set_, "soon"))
        altered(side, "out of range", version, ("retention.ms", set_, "-5"))
        altered(side, "bad word", version, ("cleanup.policy", set_, "forget"))
        altered(side, "small segments", version, ("segment.bytes", set_, "100"))
        altered(side, "one good, one bad", version, ("retention.bytes", set_, "77"), ("segment.bytes", set_, "x"))
        altered(side, "only checked", version, ("retention.ms", set_, "555"), only=True)
        altered(side, "only checked and bad", version, ("retention.ms", set_, "x"), only=True)
        altered(side, "nothing", version)
        altered(side, "unknown topic", version, ("retention.ms", set_, "1"), topic="altered-no")
        altered(side, "bad name", version, ("retention.ms", set_, "1"), topic="a b")
        altered(side, "type 99", version, ("retention.ms", set_, "1"), kind=99)
        twice = [{"ResourceType": TOPIC, "ResourceName": "altered", "Configs": []}] * 2
        side.ask(f"version {version}: a topic twice", "IncrementalAlterConfigs", version, {"Resources": twice, "ValidateOnly": False})
        side.ask(f"version {version}: no resources", "IncrementalAlterConfigs", version, {"Resources": [], "ValidateOnly": False})


def more_partitions(side):
    """M11: partitions are added, never taken."""
    for version in side.versions("CreatePartitions"):
        topic = f"grows-{version}"
        side.topic(topic, 2)
        side.topic(f"{topic}-b")

        def ask(step, count, assignments=None, name=topic, only=False):
            wanted = {"Name": name, "Count": count, "Assignments": assignments and [{"BrokerIds": brokers} for brokers in assignments]}
            message = {"Topics": [wanted], "TimeoutMs": 5000, "ValidateOnly": only}
            side.ask(f"version {version}: {step}", "CreatePartitions", version, message)

        ask("only checked", 4, only=True)
        ask("same", 2)
        ask("fewer", 1)
        ask("none", 0)
        ask("negative", -1)
        ask("more", 4)
        side.learn(topic, 4)
        side.ask(f"version {version}: told", "Metadata", 7, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False})
        ask("assigned", 6, [[1], [1]])
        ask("too few assigned", 9, [[1]])
        ask("too many assigned", 7, [[1], [1]])
        ask("assigned to nobody", 7, [[9]])
        ask("assigned twice", 7, [[1, 1]])
        ask("unknown topic", 4, name="grows-no")
        ask("bad name", 4, name="a b")
        twice = [{"Name": f"{topic}-b", "Count": 2, "Assignments": None}] * 2
        side.ask(f"version {version}: a topic twice", "CreatePartitions", version, {"Topics": twice, "TimeoutMs": 5000, "ValidateOnly": False})
        side.ask(f"version {version}: nothing", "CreatePartitions", version, {"Topics": [], "TimeoutMs": 5000, "ValidateOnly": False})
        side.fill(topic, batch((b"late",)), partition=3)
        side.ask(f"version {version}: read", "Fetch", side.newest("Fetch"), side.fetch(topic, partition=3))


def cluster(side):
    """M13: the cluster, its brokers, and endpoints of another kind."""
    for version in side.versions("DescribeCluster"):
        for kind in (1, 2, 3, 0) if version >= 1 else (1,):
            for fenced in (False, True) if version >= 2 else (False,):
                message = {"IncludeClusterAuthorizedOperations": False, "EndpointType": kind, "IncludeFencedBrokers": fenced}
                step = f"version {version}: endpoints {kind}{', fenced ones too' if fenced else ''}"
                side.ask(step, "DescribeCluster", version, message)
        operations = {"IncludeClusterAuthorizedOperations": True, "EndpointType": 1}
        side.ask(f"version {version}: operations", "DescribeCluster", version, operations)


def topic_partitions(side):
    """M12: partitions page by page."""
    for version in side.versions("DescribeTopicPartitions"):
        for name, count in (("pages-b", 3), ("pages-a", 2), ("pages-c", 1)):
            side.topic(name, count)
        names = [{"Name": name} for name in ("pages-c", "pages-a", "pages-b")]
        for limit in (2000, 6, 5, 3, 2, 1, 0, -1, 100_000):
            message = {"Topics": names, "ResponsePartitionLimit": limit, "Cursor": None}
            side.ask(f"limit {limit}", "DescribeTopicPartitions", version, message)
        for topic, partition in [
            ("pages-a", 1), ("pages-b", 0), ("pages-b", 2), ("pages-b", 3), ("pages-bb", 0), ("pages-d", 0), ("pages-a", -1), ("", 0),
        ]:
            message = {"Topics": names, "ResponsePartitionLimit": 3, "Cursor": {"TopicName": topic, "PartitionIndex": partition}}
            side.ask(f"from {topic} {partition}", "DescribeTopicPartitions", version, message)
        for step, topics in {"unknown": ["pages-no"], "known and unknown": ["pages-no", "pages-a"], "twice": ["pages-a"] * 2, "bad": ["a b"]}.items():
            message = {"Topics": [{"Name": name} for name in topics], "ResponsePartitionLimit": 10, "Cursor": None}
            side.ask(step, "DescribeTopicPartitions", version, message)
        answer = side.quietly("DescribeTopicPartitions", {"Topics": [], "ResponsePartitionLimit": 2000, "Cursor": None})
        found = [topic["Name"] for topic in answer["Topics"]]
        side.keep("all of them, in order", found == sorted(found) and {"pages-a", "pages-b", "pages-c"} <= set(found))


def producers(side):
    """DescribeProducers: who writes to a partition."""
    for version in side.versions("DescribeProducers"):
        side.topic("written", 2)
        for epoch, sequence, count in ((0, 0, 1), (0, 1, 2), (1, 0, 1)):
            side.fill("written", batch([b"v"] * count, producer_id=7000, producer_epoch=epoch, base_sequence=sequence))
        side.fill("written", batch())
        for topic, partition in (("written", 0), ("written", 1), ("written", 9), ("written-no", 0)):
            message = {"Topics": [{"Name": topic, "PartitionIndexes": [partition]}]}
            side.ask(f"{topic} {partition}", "DescribeProducers", version, message)
        side.ask("nothing", "DescribeProducers", version, {"Topics": []})


RULES = [
    topic_configs, broker_configs, creation_configs, incremental_configs, more_partitions, cluster, topic_partitions, producers,
]
