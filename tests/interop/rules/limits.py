"""What brokers with other settings do: creation and deletion switched off, low limits."""

import struct
import time

from records import batch
from rules.sessions import follow, open_session
from rules.topics import wanted, without_configs
from wire import Connection

SETTINGS = [
    "auto.create.topics.enable=false", "delete.topic.enable=false", "message.max.bytes=2000", "socket.request.max.bytes=5000",
    "connections.max.idle.ms=2000", "max.incremental.fetch.session.cache.slots=2", "fetch.max.bytes=3000", "log.retention.ms=777000",
    "log.cleanup.policy=compact,delete", "max.request.partition.size.limit=3",
]


def creation_is_off(side):
    """M2: nothing is made by asking for it."""
    for version in side.versions("Metadata"):
        side.ask(f"version {version}", "Metadata", version, {"Topics": [{"Name": "never"}], "AllowAutoTopicCreation": True})


def deletion_is_off(side):
    """M10: TOPIC_DELETION_DISABLED [73], INVALID_REQUEST [42] before version 3."""
    side.topic("stays")
    for version in side.versions("DeleteTopics"):
        named = {"TopicNames": ["stays"]} if version < 6 else {"Topics": [{"Name": "stays"}]}
        side.ask(f"version {version}", "DeleteTopics", version, {**named, "TimeoutMs": 5000})
        unknown = {"TopicNames": ["nobody"]} if version < 6 else {"Topics": [{"Name": "nobody"}]}
        side.ask(f"version {version}: unknown", "DeleteTopics", version, {**unknown, "TimeoutMs": 5000})


def sizes(side):
    """R3, F1, C7: limits of the broker."""
    side.topic("small")
    overhead = len(batch((b"x" * 600,))) - 600
    for size in (1999, 2000, 2001):
        message = side.produce("small", batch((b"x" * (size - overhead),)))
        side.ask(f"{size} bytes", "Produce", side.newest("Produce"), message)
    message = side.fetch("small")
    answer = side.named(side.quietly("Fetch", message))
    for part in answer["Responses"][0]["Partitions"]:
        part["Records"] = len(part["Records"])
    side.keep("an answer of the broker's size", answer)
    side.raw("a frame above socket.request.max.bytes", struct.pack(">i", 5001) + b"\0" * 5001)


def idle(side):
    """C7: a connection that says nothing is closed."""
    with Connection(side.address, 10) as connection:
        began = time.monotonic()
        try:
            connection.frame()
        except EOFError:
            side.keep("closed between 1 and 8 s", 1 < time.monotonic() - began < 8)


def slots(side):
    """F13: no session where there is no room."""
    side.topic("slots")
    for number in range(3):
        session = open_session(side, f"session {number}", side.newest("Fetch"), "slots")
    follow(side, "the last one", side.newest("Fetch"), session, 1)


def pages(side):
    """M12: the broker's limit of partitions per answer."""
    for version in side.versions("DescribeTopicPartitions"):
        side.topic("paged", 5)
        message = {"Topics": [{"Name": "paged"}], "ResponsePartitionLimit": 100, "Cursor": None}
        side.ask("capped", "DescribeTopicPartitions", version, message)


def defaults(side):
    """D1, M9: a broker's setting is a topic's default, with its source."""
    version = side.newest("CreateTopics")
    answer = side.quietly("CreateTopics", {"Topics": [wanted("inherits")], "timeoutMs": 5000}, version)
    told = answer["Topics"][0].get("Configs") or []
    chosen = ("retention.ms", "cleanup.policy", "max.message.bytes")
    side.keep("told at creation", {entry["Name"]: entry for entry in told if entry["Name"] in chosen})
    side.keep("made", side.named(without_configs(answer)))
    for version in side.versions("DescribeConfigs"):
        resource = {"ResourceType": 2, "ResourceName": "inherits", "ConfigurationKeys": list(chosen)}
        answer = side.quietly("DescribeConfigs", {"Resources": [resource], "IncludeSynonyms": True}, version)
        side.keep(f"described by version {version}", {entry["Name"]: entry for entry in answer["Results"][0]["Configs"]})


RULES = [creation_is_off, deletion_is_off, sizes, idle, slots, pages, defaults]
