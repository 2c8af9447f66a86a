"""`__consumer_offsets` as Kafka's own tools read it: the same story of groups is told to Millstream and to Kafka, and the records
that each keeps of it are read by kafka-dump-log (from a segment made of the batches as they are fetched) and by the console
consumer's formatters. Both tools must understand every record, and what they say must be the same.

    group_records.py [--show]
"""

import argparse
import json
import re
import time

from broker import Broker, work_dir
from kafka_broker import Kafka, java
from rules.groups import Group, settle
from side import Side
from tools import Tools

TOPIC = "__consumer_offsets"
SETTINGS = [
    "node.id=1", "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0", "group.consumer.assignment.interval.ms=0",
    "group.consumer.min.assignment.interval.ms=0",
]
SUBSCRIPTION = bytes.fromhex("0001" "00000001" "0004") + b"kept" + bytes.fromhex("ffffffff" "00000000")
ASSIGNMENT = bytes.fromhex("0001" "00000001" "0004") + b"kept" + bytes.fromhex("00000002" "00000000" "00000001" "ffffffff")


def join(side, group, instance=None):
    """A classic member joins alone, and gets both partitions."""
    settle(side, group)
    message = {
        "GroupId": group, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 40_000, "MemberId": "", "GroupInstanceId": instance,
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": SUBSCRIPTION}],
    }
    joined = side.quietly("JoinGroup", message)
    if joined["ErrorCode"] == 79:
        joined = side.quietly("JoinGroup", message | {"MemberId": joined["MemberId"]})
    assert joined["ErrorCode"] == 0, joined
    named = {"GroupId": group, "GenerationId": joined["GenerationId"], "MemberId": joined["MemberId"], "GroupInstanceId": instance}
    shares = [{"MemberId": joined["MemberId"], "Assignment": ASSIGNMENT}]
    synced = side.quietly("SyncGroup", named | {"ProtocolType": "consumer", "ProtocolName": "range", "Assignments": shares})
    assert synced["ErrorCode"] == 0 and synced["Assignment"] == ASSIGNMENT, synced
    return named


def commit(side, group, member="", epoch=-1, instance=None, partitions=(0, 1)):
    each = [
        {"PartitionIndex": one, "CommittedOffset": 5 + one, "CommittedLeaderEpoch": one - 1, "CommittedMetadata": "note" * one}
        for one in partitions
    ]
    message = {
        "GroupId": group, "GenerationIdOrMemberEpoch": epoch, "MemberId": member, "GroupInstanceId": instance,
        "Topics": [{"TopicId": side.id("kept"), "Partitions": each}],
    }
    done = side.quietly("OffsetCommit", message)
    assert all(one["ErrorCode"] == 0 for one in done["Topics"][0]["Partitions"]), done


def leave(side, named):
    member = {"MemberId": named["MemberId"], "GroupInstanceId": named["GroupInstanceId"], "Reason": None}
    left = side.quietly("LeaveGroup", {"GroupId": named["GroupId"], "Members": [member]})
    assert left["ErrorCode"] == 0 and left["Members"][0]["ErrorCode"] == 0, left


def delete(side, group):
    done = side.quietly("DeleteGroups", {"GroupsNames": [group]})
    assert done["Results"][0]["ErrorCode"] == 0, done


def classic(side):
    """A classic group: its member commits and leaves, an offset is deleted."""
    named = join(side, "classic")
    commit(side, "classic", named["MemberId"], named["GenerationId"])
    leave(side, named)
    gone = {"GroupId": "classic", "Topics": [{"Name": "kept", "Partitions": [{"PartitionIndex": 1}]}]}
    done = side.quietly("OffsetDelete", gone)
    assert done["ErrorCode"] == 0 and done["Topics"][0]["Partitions"][0]["ErrorCode"] == 0, done


def static(side):
    """A static member of a classic group, which stays."""
    named = join(side, "static", "one")
    commit(side, "static", named["MemberId"], named["GenerationId"], "one")


def gone(side):
    """Offsets without members, and a group that had some: both are deleted."""
    settle(side, "gone")
    commit(side, "gone")
    delete(side, "gone")
    leave(side, join(side, "gone too"))
    delete(side, "gone too")


def consumers(side):
    """A consumer group: a dynamic and a static member, commits; one leaves, the other for a while."""
    group = Group(side, "consumers", None, "kept")
    first = group.join("joins", "a", ServerAssignor="range", RackId="here")
    commit(side, "consumers", "a", first["MemberEpoch"])
    group.join("another", "b", InstanceId="one")
    group.beat("is told to let go", "a", 1)
    group.beat("lets go", "a", 1, [1])
    group.beat("gets its part", "b", 2, [])
    group.beat("away", "b", -2, InstanceId="one")
    group.beat("leaves", "a", -1)


def ended(side):
    """A consumer group that ends."""
    group = Group(side, "ended", None, "kept")
    group.join("joins", "a")
    group.beat("leaves", "a", -1)
    delete(side, "ended")


def pattern(side):
    """A member that subscribes by a pattern."""
    group = Group(side, "pattern", None, "kept")
    answer = group.join("joins", "a", topics=None, SubscribedTopicRegex="kep.*")
    deadline = time.monotonic() + 20
    while not (answer["Assignment"] and answer["Assignment"]["TopicPartitions"]):
        # Kafka looks topics up beside the heartbeat.
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
        answer = group.beat("alive", "a", answer["MemberEpoch"] - (group.base or 0), [])


def moved(side):
    """A classic group to which a consumer comes, and from which it goes again."""
    named = join(side, "moved")
    group = Group(side, "moved", None, "kept")
    group.base = 0
    group.join("joins", "a")
    group.beat("leaves", "a", -1)


STORY = [classic, static, gone, consumers, ended, pattern, moved]


def segment(side, path):
    """The partition as it is fetched, written as the first segment of a log; how many records it has."""
    whole, offset = b"", 0
    side.learn(TOPIC, 1)
    end = side.quietly("ListOffsets", side.list_offsets(TOPIC, -1))["Topics"][0]["Partitions"][0]["Offset"]
    while offset < end:
        answer = side.quietly("Fetch", side.fetch(TOPIC, offset))
        data = answer["Responses"][0]["Partitions"][0]["Records"]
        assert data, answer
        while data:
            size = 12 + int.from_bytes(data[8:12], "big")
            offset = int.from_bytes(data[:8], "big") + int.from_bytes(data[23:27], "big") + 1
            whole, data = whole + data[:size], data[size:]
    path.parent.mkdir(parents=True)
    path.write_bytes(whole)
    return end


def dumped(tools, path):
    """What kafka-dump-log reads in a segment: a key and a value for each record."""
    found = []
    for line in tools.run("org.apache.kafka.tools.DumpLogSegments", "--files", str(path), "--offsets-decoder").splitlines():
        assert "isvalid: false" not in line, line
        if line.startswith("|"):
            record = re.search(r" key: (\{.*?\}) payload: (.*)$", line)
            assert record, f"kafka-dump-log does not understand: {line}"
            found.append((json.loads(record[1]), None if record[2] == "<DELETE>" else json.loads(record[2])))
    return found


def formatted(tools, formatter, count):
    """What a formatter of the console consumer makes of the partition."""
    options = ["--topic", TOPIC, "--from-beginning", "--max-messages", str(count), "--timeout-ms", "20000"]
    options += ["--formatter", f"org.apache.kafka.tools.consumer.{formatter}"]
    told = tools.run("org.apache.kafka.tools.consumer.ConsoleConsumer", *tools.at, *options)
    found, at, decoder = [], told.find("{"), json.JSONDecoder()
    while at >= 0:
        record, at = decoder.raw_decode(told, at)
        found.append((record["key"], record["value"]))
        at = told.find("{", at)
    return found


TIMES = ("commitTimestamp", "currentStateTimestamp", "assignmentTimestamp", "timestamp")
EPOCHS = ("epoch", "memberEpoch", "assignmentEpoch")
# How far back a repeated heartbeat is understood, since when a partition is a member's (Kafka has 0 where it got it late), and which
# metadata a pattern was looked up in, is each broker's own.
OWN = ("previousMemberEpoch", "assignmentEpochs", "version of the metadata")


class Reading:
    """Records by what they say, with names for what is random or of one broker only; epochs count from the group's first."""

    def __init__(self, records):
        self.bases, self.last, self.forms = {}, {}, set()
        for key, value in records:
            group = key["data"].get("group", key["data"].get("groupId"))
            kind = int(key["type"])
            if kind == 3 and value:
                self.bases.setdefault(group, value["data"]["epoch"] - 1)
            self.base = self.bases.get(group, 0)
            name = json.dumps([kind, self.named(key["data"])])
            if value is None:
                self.last[name] = "gone"
                continue
            if kind == 16:
                value["data"]["version of the metadata"] = value["data"].pop("version")
            self.forms.add((kind, int(value["version"])))
            self.last[name] = self.named(value["data"])

    def named(self, value, field=""):
        if isinstance(value, dict):
            return {name: self.named(inner, name) for name, inner in value.items() if name not in OWN}
        if isinstance(value, list):
            return [self.named(inner, field) for inner in value]
        if field in ("memberId", "leader") and value and len(value) > 8:
            return "an id"
        if field == "topicId":
            return "kept"
        if field == "metadataHash":
            return "a hash"
        if field in EPOCHS and value > 0:
            return value - self.base
        if field in TIMES and abs(value - time.time() * 1000) < 600_000:
            return "now"
        return value


# A consumer group that becomes classic is rebalanced at once. Until then Kafka has written down what its members were to have,
# Millstream what they have.
REBALANCED = '[2, {"group": "moved"}]'


def compare(what, ours, theirs):
    """Nothing of ours may be unknown to Kafka, and everything it keeps must be here, said in the same words."""
    ours, theirs = Reading(ours), Reading(theirs)
    assert ours.forms <= theirs.forms, f"{what}: kinds and versions {ours.forms - theirs.forms} are not Kafka's"
    for name in dict.fromkeys([*ours.last, *theirs.last]):
        mine, kafkas = ours.last.get(name), theirs.last.get(name)
        # Kafka ends a kind of record that it does not write any more.
        retired = name.startswith("[4,") and kafkas == "gone"
        if name == REBALANCED:
            for member in (*mine["members"], *kafkas["members"]):
                assert member.pop("assignment"), f"{what}: {name}: Millstream {mine}, Kafka {kafkas}"
        assert mine == kafkas or retired, f"{what}: {name}: Millstream {mine}, Kafka {kafkas}"
    return len(ours.last)


def told(side):
    """What a broker says of the groups when asked."""
    groups = side.quietly("DescribeGroups", {"Groups": ["classic", "static", "moved"], "IncludeAuthorizedOperations": False})["Groups"]
    consumers = side.quietly("ConsumerGroupDescribe", {"GroupIds": ["consumers", "pattern"], "IncludeAuthorizedOperations": False})["Groups"]
    wanted = [{"GroupId": one, "MemberId": None, "MemberEpoch": -1, "Topics": None} for one in ("classic", "static", "consumers", "gone")]
    # By name: a broker that took over the records has other ids of topics.
    offsets = side.quietly("OffsetFetch", {"Groups": wanted, "RequireStable": False}, 9)["Groups"]
    listed = side.quietly("ListGroups", {"StatesFilter": [], "TypesFilter": []})["Groups"]
    return [
        # The console consumer is in a group of its own.
        sorted((one["GroupId"], one["GroupType"]) for one in listed if not one["GroupId"].startswith("console-consumer")),
        [(one["GroupId"], one["ErrorCode"], sorted(each["MemberId"] for each in one["Members"])) for one in groups],
        [(one["GroupId"], one["ErrorCode"], one["GroupEpoch"], [
            (each["MemberId"], each["InstanceId"], each["MemberEpoch"], each["SubscribedTopicNames"], each["SubscribedTopicRegex"], each["MemberType"])
            for each in one["Members"]]) for one in consumers],
        [(one["GroupId"], [(each["PartitionIndex"], each["CommittedOffset"], each["Metadata"]) for topic in one["Topics"]
                           for each in topic["Partitions"]]) for one in offsets],
    ]


def taken_over(kafka, path):
    """Kafka starts with the segment that Millstream's records make."""
    kafka.stop()
    log = kafka.dir / "data" / f"{TOPIC}-0"
    for old in log.iterdir():
        if old.suffix in (".log", ".index", ".timeindex", ".snapshot", ".txnindex"):
            old.unlink()
    (log / path.name).write_bytes(path.read_bytes())
    kafka.start()
    kafka.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", action="store_true", help="print what the tools read")
    args = parser.parse_args()
    work = work_dir("group-records")
    with Kafka("kafka-records", SETTINGS) as kafka, Broker("records", settings=SETTINGS) as broker:
        sides = [Side("Millstream", broker.address), Side("Kafka", kafka.address)]
        sides[1].advertised = sides[0].advertised
        read, paths = {}, {}
        for side, server in zip(sides, (broker, kafka)):
            side.begin("records")
            side.topic("kept", 2)
            for part in STORY:
                side.rule = part.__name__
                part(side)
            paths[side.name] = work / side.name / "00000000000000000000.log"
            count = segment(side, paths[side.name])
            with Tools(server) as tools:
                log = dumped(tools, paths[side.name])
                assert len(log) == count, f"kafka-dump-log reads {len(log)} of {count} records"
                formatters = ("OffsetsMessageFormatter", "GroupMetadataMessageFormatter")
                read[side.name] = [log, *(formatted(tools, one, count) for one in formatters)]
            if args.show:
                print("\n".join(f"{side.name}: {json.dumps(key)} {json.dumps(value)}" for key, value in log))
        for what, ours, theirs in zip(("kafka-dump-log", *formatters), *read.values()):
            assert ours, f"{what} has read nothing"
            print(f"    {what}: {len(ours)} records, {compare(what, ours, theirs)} things that are as Kafka keeps them")
        before = told(sides[0])
        taken_over(kafka, paths["Millstream"])
        after = Side("Kafka", kafka.address)
        after.begin("taken over")
        after.advertised = sides[0].advertised
        settle(after, "classic")
        assert told(after) == before, f"Kafka takes the groups over as {told(after)}, they were {before}"
        print("    Kafka goes on with the groups, members and offsets that Millstream wrote")


if __name__ == "__main__":
    main()
