"""Metadata, creation and deletion of topics: rules M."""

import time

from side import UNKNOWN, ZERO


def metadata_versions(side):
    """M1, M4-M6: all, none, named ones and unknown ones, in every version."""
    side.topic("meta-b", 3)
    side.topic("meta-a")
    for version in side.versions("Metadata"):
        named = {"AllowAutoTopicCreation": False, "IncludeTopicAuthorizedOperations": False}
        answer = side.quietly("Metadata", {"Topics": [] if version == 0 else None, **named}, version)
        mine = [each for each in answer["Topics"] if (each.get("Name") or "").startswith("meta-")]
        side.keep(f"version {version}: all", side.named({**answer, "Topics": sorted_topics(mine)}))
        if version > 0:
            side.ask(f"version {version}: none", "Metadata", version, {"Topics": [], **named})
        if version >= 4:
            for name, topics in {
                "two": ["meta-a", "meta-b"], "unknown": ["meta-none"], "twice": ["meta-a", "meta-a"], "bad": ["a b"], "empty": [""],
                "long": ["x" * 250], "longest": ["x" * 249], "dots": [".."], "known and unknown": ["meta-none", "meta-a"],
            }.items():
                answer = side.quietly("Metadata", {"Topics": [{"Name": each} for each in topics], **named}, version)
                side.keep(f"version {version}: {name}", side.named({**answer, "Topics": sorted_topics(answer["Topics"])}))
        if version >= 8:
            operations = {"Topics": [{"Name": "meta-a"}], "AllowAutoTopicCreation": False, "IncludeTopicAuthorizedOperations": True}
            if version <= 10:
                operations["IncludeClusterAuthorizedOperations"] = True
            side.ask(f"version {version}: operations", "Metadata", version, operations)
        if version >= 10:
            for name, topics in {
                "by id": [{"TopicId": side.id("meta-a"), "Name": None}],
                "unknown id": [{"TopicId": UNKNOWN, "Name": None}],
                "id and name": [{"TopicId": side.id("meta-a"), "Name": "meta-a"}],
                "zero id, no name": [{"TopicId": ZERO, "Name": None}],
                "ids": [{"TopicId": side.id("meta-a"), "Name": None}, {"TopicId": UNKNOWN, "Name": None}],
            }.items():
                side.ask(f"version {version}: {name}", "Metadata", version, {"Topics": topics, **named})


def sorted_topics(topics):
    by_name = sorted(topics, key=lambda topic: (topic.get("Name") or "", topic["ErrorCode"]))
    return [{**topic, "Partitions": sorted(topic["Partitions"], key=lambda each: each["PartitionIndex"])} for topic in by_name]


def auto_creation(side):
    """M2: a name that does not exist is made when asked for, if the request allows it."""
    for version in (side.versions("Metadata")[0], 4, side.newest("Metadata")):
        name = f"auto-{version}"
        first = side.quietly("Metadata", {"Topics": [{"Name": name}], "AllowAutoTopicCreation": True}, version)
        side.keep(f"version {version}: at once", side.named(first["Topics"]))
        side.learn(name, 2)
    side.ask("bad name", "Metadata", 4, {"Topics": [{"Name": "a/b"}], "AllowAutoTopicCreation": True})
    side.ask("not allowed", "Metadata", 4, {"Topics": [{"Name": "auto-no"}], "AllowAutoTopicCreation": False})
    time.sleep(0.3)
    side.ask("not made", "Metadata", 4, {"Topics": [{"Name": "auto-no"}], "AllowAutoTopicCreation": False})
    side.ask("collides with auto-4", "Metadata", 4, {"Topics": [{"Name": "auto.4"}, {"Name": "auto_4"}], "AllowAutoTopicCreation": False})


def wanted(name, partitions=1, replicas=1, assignments=(), configs=()):
    return {
        "Name": name, "NumPartitions": partitions, "ReplicationFactor": replicas,
        "Assignments": [{"PartitionIndex": index, "BrokerIds": brokers} for index, brokers in assignments],
        "Configs": [{"Name": key, "Value": value} for key, value in configs],
    }


def without_configs(answer):
    """Effective configurations are compared by `admin`."""
    for topic in answer["Topics"]:
        if topic.get("Configs"):
            topic["Configs"] = "some"
    return answer


def creation(side):
    """M3, M8, M9: every refusal, and what is made, in every version."""
    for version in side.versions("CreateTopics"):
        kinds = {
            "plain": wanted(f"new-{version}-a"),
            "three partitions": wanted(f"new-{version}-b", 3),
            "assigned": wanted(f"new-{version}-c", -1, -1, [(0, [1]), (1, [1])]),
            "with configs": wanted(f"new-{version}-d", configs=[("retention.ms", "1000"), ("cleanup.policy", "compact")]),
            "no partitions": wanted(f"new-{version}-e", 0),
            "minus two partitions": wanted(f"new-{version}-f", -2),
            "no replicas": wanted(f"new-{version}-g", 1, 0),
            "minus two replicas": wanted(f"new-{version}-h", 1, -2),
            "too many replicas": wanted(f"new-{version}-i", 1, 2),
            "assignment and counts": wanted(f"new-{version}-j", 1, 1, [(0, [1])]),
            "assignment with a hole": wanted(f"new-{version}-k", -1, -1, [(1, [1])]),
            "assignment to nobody": wanted(f"new-{version}-l", -1, -1, [(0, [7])]),
            "assignment twice to one": wanted(f"new-{version}-m", -1, -1, [(0, [1, 1])]),
            "empty assignment": wanted(f"new-{version}-n", -1, -1, [(0, [])]),
            "unknown key": wanted(f"new-{version}-o", configs=[("no.such.key", "1")]),
            "bad value": wanted(f"new-{version}-p", configs=[("retention.ms", "soon")]),
            "bad policy": wanted(f"new-{version}-q", configs=[("cleanup.policy", "forget")]),
            "null value": wanted(f"new-{version}-r", configs=[("retention.ms", None)]),
            "gone key": wanted(f"new-{version}-s", configs=[("message.format.version", "2.0")]),
            "small segments": wanted(f"new-{version}-t", configs=[("segment.bytes", "1000")]),
            "exists": wanted(f"new-{version}-a"),
            "collides": wanted(f"new.{version}.a".replace(".", "_", 1).replace(".", "-")),
            "bad name": wanted("a b"),
            "empty name": wanted(""),
            "dot": wanted("."),
            "long": wanted("x" * 250),
        }
        if version >= 4:
            kinds["defaults"] = wanted(f"new-{version}-u", -1, -1)
        for name, topic in kinds.items():
            for only in (True, False):
                answer = side.quietly("CreateTopics", {"Topics": [topic], "timeoutMs": 5000, "validateOnly": only}, version)
                for each in answer["Topics"]:
                    if not only and each["ErrorCode"] == 0:
                        side.learn(topic["Name"], len(topic["Assignments"]) or {-1: 2}.get(topic["NumPartitions"], topic["NumPartitions"]))
                side.keep(f"version {version}: {name}{', only checked' if only else ''}", side.named(without_configs(answer)))
        many = [wanted(f"new-{version}-x"), wanted(f"new-{version}-x"), wanted(f"new-{version}-y"), wanted("a b")]
        answer = side.quietly("CreateTopics", {"Topics": many, "timeoutMs": 5000}, version)
        answer["Topics"].sort(key=lambda topic: topic["Name"])
        for each in answer["Topics"]:
            if each["ErrorCode"] == 0:
                side.learn(each["Name"], 1)
        side.keep(f"version {version}: one twice, one good, one bad", side.named(without_configs(answer)))
        side.ask(f"version {version}: nothing", "CreateTopics", version, {"Topics": [], "timeoutMs": 5000})


def collisions(side):
    """M3: names that are equal once dots are underscores."""
    side.topic("col.li_sion")
    version = side.newest("CreateTopics")
    for name in ("col_li.sion", "col.li.sion", "col_li_sion"):
        answer = side.quietly("CreateTopics", {"Topics": [wanted(name)], "timeoutMs": 5000}, version)
        side.keep(name, side.named(without_configs(answer)))


def deletion(side):
    """M10: deletion by name and id, what cannot be deleted, and a topic of the same name afterwards."""
    for version in side.versions("DeleteTopics"):
        names = [f"gone-{version}-{letter}" for letter in "abc"]
        for name in names:
            side.topic(name)
        if version < 6:
            for step, asked in {
                "one": names[:1], "again": names[:1], "unknown": ["gone-none"], "known and unknown": ["gone-none", names[1]], "nothing": [],
                "twice": [names[2], names[2]], "bad name": ["a b"],
            }.items():
                answer = side.quietly("DeleteTopics", {"TopicNames": asked, "TimeoutMs": 5000}, version)
                answer["Responses"].sort(key=lambda each: each["Name"])
                side.keep(f"version {version}: {step}", side.named(answer))
        else:
            ids = [side.id(name) for name in names]
            for step, asked in {
                "by name": [{"Name": names[0], "TopicId": ZERO}],
                "again": [{"Name": names[0], "TopicId": ZERO}],
                "by id": [{"Name": None, "TopicId": ids[1]}],
                "again by id": [{"Name": None, "TopicId": ids[1]}],
                "unknown id": [{"Name": None, "TopicId": UNKNOWN}],
                "name and id": [{"Name": names[2], "TopicId": ids[2]}],
                "neither": [{"Name": None, "TopicId": ZERO}],
                "name twice": [{"Name": names[2], "TopicId": ZERO}] * 2,
                "id twice": [{"Name": None, "TopicId": ids[2]}] * 2,
                "id and its name": [{"Name": None, "TopicId": ids[2]}, {"Name": names[2], "TopicId": ZERO}],
                "nothing": [],
            }.items():
                answer = side.quietly("DeleteTopics", {"Topics": asked, "TimeoutMs": 5000}, version)
                answer["Responses"].sort(key=lambda each: (each["Name"] or "", each["TopicId"] == ZERO, each["ErrorCode"]))
                side.keep(f"version {version}: {step}", side.named(answer))
        before = side.id(names[0])
        side.topic(names[0])
        side.keep(f"version {version}: made again with another id", before != side.id(names[0]) or before == ZERO)
        side.ask(f"version {version}: empty again", "ListOffsets", side.newest("ListOffsets"), side.list_offsets(names[0], -1))


RULES = [metadata_versions, auto_creation, creation, collisions, deletion]
