"""Groups of both protocols: rules G2 to G14 and K1 to K8, their configurations (D1, D2), and what ListConfigResources lists.

Epochs are told from the first one of the group: Kafka begins a group with epoch 2, Millstream with 1.
"""

import time

GROUP = 32
SUBSCRIPTION = bytes.fromhex("0001" "00000001" "0009") + b"crossings" + bytes.fromhex("ffffffff" "00000000")
ASSIGNMENT_S = 1.2  # Longer than assignments keep at the least.


def settle(side, group):
    """Waits until the side coordinates a group: Kafka loads each partition of them by itself."""
    deadline = time.monotonic() + 60
    while True:
        told = side.quietly("FindCoordinator", {"CoordinatorKeys": [group], "KeyType": 0}, 4)["Coordinators"][0]["ErrorCode"]
        if told == 0:
            told = side.quietly("DescribeGroups", {"Groups": [group], "IncludeAuthorizedOperations": False}, 5)["Groups"][0]["ErrorCode"]
        if told == 0:
            return
        assert time.monotonic() < deadline, f"{side.name} coordinates nothing: {told}"
        time.sleep(0.1)


class Group:
    """One group of a side: asks, and keeps the answers with epochs counted from its first."""

    def __init__(self, side, name, version=None, topic=None):
        self.side, self.name, self.version = side, name, side.newest("ConsumerGroupHeartbeat") if version is None else version
        self.topic, self.base, self.steps = topic, None, 0
        settle(side, name)

    def message(self, member, epoch, fields):
        epoch = epoch if epoch <= 0 or self.base is None else epoch + self.base
        message = {
            "GroupId": self.name, "MemberId": member, "MemberEpoch": epoch, "InstanceId": None, "RackId": None, "RebalanceTimeoutMs": -1,
            "SubscribedTopicNames": None, "ServerAssignor": None, "TopicPartitions": None,
        }
        if self.version >= 1:
            message["SubscribedTopicRegex"] = None
        return message | fields

    def beat(self, step, member, epoch, owned=None, **fields):
        if owned is not None:
            fields["TopicPartitions"] = [{"TopicId": self.id(), "Partitions": owned}] if owned else []
        answer = self.side.quietly("ConsumerGroupHeartbeat", self.message(member, epoch, fields), self.version)
        if answer["ErrorCode"] == 0 and self.base is None:
            self.base = answer["MemberEpoch"] - 1
        self.keep(step, answer)
        return answer

    def join(self, step, member, **fields):
        topics = fields.pop("topics", [self.topic])
        return self.beat(step, member, 0, [], **{"RebalanceTimeoutMs": 60_000, "SubscribedTopicNames": topics} | fields)

    def describe(self, step):
        answer = self.side.quietly("ConsumerGroupDescribe", {"GroupIds": [self.name], "IncludeAuthorizedOperations": False})
        for group in answer["Groups"]:
            group["Members"].sort(key=lambda one: one["MemberId"])
        self.keep(step, answer)

    def id(self):
        return next(id_ for name, id_ in self.side.ids.items() if name == self.topic)

    def keep(self, step, answer):
        self.steps += 1
        self.side.keep(f"version {self.version}: {self.steps} {step}", self.side.named(self.counted(answer)))

    def counted(self, value, field=""):
        if isinstance(value, dict):
            return {name: self.counted(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.counted(inner, field) for inner in value]
        if field in ("MemberEpoch", "GroupEpoch", "AssignmentEpoch") and value > 0:
            return value - self.base
        return value


def forms(side):
    """K1: what a heartbeat must not look like."""
    side.topic("forms", 2)
    for version in side.versions("ConsumerGroupHeartbeat"):
        group = Group(side, f"forms-{version}", version, "forms")
        group.base = 0
        group.beat("no group", "m", 0, [], GroupId="")
        group.join("no timeout", "m", RebalanceTimeoutMs=-1)
        group.join("no topics", "m", SubscribedTopicNames=None)
        group.beat("owned is null", "m", 0, None, RebalanceTimeoutMs=60_000, SubscribedTopicNames=["forms"])
        group.beat("owns at once", "m", 0, [0], RebalanceTimeoutMs=60_000, SubscribedTopicNames=["forms"])
        group.join("empty instance", "m", InstanceId="")
        group.join("empty rack", "m", RackId="")
        group.join("unknown assignor", "m", ServerAssignor="sticky")
        group.beat("epoch -3", "m", -3)
        group.beat("leaves for a while without a name", "m", -2)
        group.beat("leaves a group that is not there", "m", -1)
        group.beat("beats in a group that is not there", "m", 3)
        group.describe("no group of it")
        if version >= 1:
            group.join("no id", "")
            group.join("bad pattern", "m", topics=None, SubscribedTopicRegex="(")


def life(side):
    """K1 to K4: members join, take over, let go, leave."""
    side.topic("life", 4)
    for version in side.versions("ConsumerGroupHeartbeat"):
        group = Group(side, f"life-{version}", version, "life")
        group.join("the first joins", "a")
        group.beat("it is alive", "a", 1)
        group.beat("it tells what it owns", "a", 1, [0, 1, 2, 3])
        group.describe("alone")
        group.join("it joins again", "a")
        group.join("another joins soon", "b")
        group.describe("not assigned yet")
        time.sleep(ASSIGNMENT_S)
        group.beat("the other is alive", "b", 1)
        group.describe("the first has all still")
        told = group.beat("the first is told to let go", "a", 1)
        kept = told["Assignment"]["TopicPartitions"][0]["Partitions"] if told["Assignment"] else []
        group.beat("it has not yet", "a", 1, [0, 1, 2, 3])
        group.beat("the other waits", "b", 2)
        group.beat("it lets go", "a", 1, kept)
        group.beat("the answer was lost", "a", 1, kept)
        group.beat("an old epoch with what it must not own", "a", 1, [0, 1, 2, 3])
        group.beat("the other gets its part", "b", 2)
        group.describe("shared")
        group.beat("a greater epoch", "a", 9)
        group.beat("nobody knows it", "z", 2)
        group.beat("the first leaves", "a", -1)
        time.sleep(ASSIGNMENT_S)
        group.beat("the other gets everything", "b", 2)
        group.describe("alone again")
        group.beat("it leaves too", "b", -1)
        group.describe("empty")


def statics(side):
    """K1, K2: static members leave for a while, come back, and fence each other."""
    side.topic("statics", 4)
    group = Group(side, "statics", None, "statics")
    group.join("joins", "a", InstanceId="one")
    group.join("its name is taken", "b", InstanceId="one")
    group.beat("another under its name", "b", 1, InstanceId="one")
    group.beat("an unknown name", "a", 1, InstanceId="two")
    group.beat("leaves for a while", "a", -2, InstanceId="one")
    group.describe("away")
    group.join("comes back under another id", "c", InstanceId="one")
    group.describe("back")
    group.beat("its former self", "a", 1, InstanceId="one")
    group.beat("leaves for good", "c", -1, InstanceId="one")
    group.describe("gone")


def patterns(side):
    """K1: topics by pattern, also ones that come later. Kafka looks them up a moment after the heartbeat, so that epochs differ."""
    side.topic("pattern-one", 2)
    side.topic("no-pattern-one", 2)
    group = Group(side, "patterns", None, "pattern-one")
    owned = []
    fields = {"RebalanceTimeoutMs": 60_000, "SubscribedTopicRegex": "pattern-(one|two)"}

    def until(count, epoch, **first):
        """Beats until the member has so many partitions; its epoch then."""
        deadline = time.monotonic() + 20
        while sum(len(topic["Partitions"]) for topic in owned) != count:
            assert time.monotonic() < deadline, f"{side.name}: {owned}, not {count} partitions"
            answer = side.quietly("ConsumerGroupHeartbeat", group.message("a", epoch, first | {"TopicPartitions": list(owned)}))
            assert answer["ErrorCode"] == 0, answer
            first, epoch = {}, answer["MemberEpoch"]
            if answer["Assignment"]:
                owned[:] = answer["Assignment"]["TopicPartitions"]
            time.sleep(0.2)
        return epoch

    def shown(step):
        member = side.quietly("ConsumerGroupDescribe", {"GroupIds": ["patterns"], "IncludeAuthorizedOperations": False})["Groups"][0]
        told = member["Members"][0]
        told["Assignment"]["TopicPartitions"].sort(key=lambda one: one["TopicName"])
        side.keep(step, side.named([member["AssignorName"], told["SubscribedTopicRegex"], told["SubscribedTopicNames"], told["Assignment"]]))

    epoch = until(2, 0, **fields)
    shown("what matches")
    side.topic("pattern-two", 3)
    # Kafka looks again with the next change only, or after ten minutes.
    epoch = until(5, epoch, SubscribedTopicRegex="pattern-(one|two|three)", ServerAssignor="range")
    shown("what matches later")


def commits(side):
    """K6: commits and questions of members, by their epochs."""
    side.topic("commits", 2)
    group = Group(side, "commits", None, "commits")
    group.join("joins", "a")
    base = group.base
    for version in side.versions("OffsetCommit"):
        topic = {"Name": "commits"} if version < 10 else {"TopicId": group.id()}
        partition = {"PartitionIndex": 0, "CommittedOffset": 5, "CommittedLeaderEpoch": -1, "CommittedMetadata": "m"}
        for step, member, epoch in [("its own", "a", 1), ("a wrong epoch", "a", 7), ("an unknown member", "z", 1), ("from outside", "", -1)]:
            message = {
                "GroupId": "commits", "GenerationIdOrMemberEpoch": epoch + base if epoch > 0 else epoch, "MemberId": member,
                "GroupInstanceId": None, "RetentionTimeMs": -1, "Topics": [topic | {"Partitions": [partition]}],
            }
            side.ask(f"version {version}: {step}", "OffsetCommit", version, message)
    for version in side.versions("OffsetFetch", 8):
        topic = {"Name": "commits"} if version < 10 else {"TopicId": group.id()}
        for step, member, epoch in [("its own", "a", 1), ("a wrong epoch", "a", 7), ("an unknown member", "z", 1), ("from outside", None, -1)]:
            asked = {"GroupId": "commits", "Topics": [topic | {"PartitionIndexes": [0, 1]}]}
            if version >= 9:
                asked |= {"MemberId": member, "MemberEpoch": epoch + base if epoch > 0 else epoch}
            side.ask(f"version {version}: fetch, {step}", "OffsetFetch", version, {"Groups": [asked], "RequireStable": False})


def classic(side):
    """G2 to G14: a classic group of one member, in every version of joining, and whatever is refused to it."""
    side.topic("classic", 2)
    for version in side.versions("JoinGroup"):
        group = f"classic-{version}"
        settle(side, group)
        settle(side, "classic-no")

        def join(step, member="", version=version, group=group, **fields):
            message = {
                "GroupId": group, "SessionTimeoutMs": 10_000, "MemberId": member, "ProtocolType": "consumer",
                "Protocols": [{"Name": "range", "Metadata": b"one"}, {"Name": "other", "Metadata": b"two"}],
            }
            message |= {"RebalanceTimeoutMs": 10_000} if version >= 1 else {}
            answer = side.quietly("JoinGroup", message | fields, version)
            side.keep(f"version {version}: {step}", side.named(unnamed(answer)))
            return answer

        join("no group", GroupId="")
        join("a short session", SessionTimeoutMs=5999)
        join("a long session", SessionTimeoutMs=1_800_001)
        join("a member nobody knows", "nobody")
        join("no protocols", Protocols=[])
        join("no type", ProtocolType="")
        joined = join("new")
        if joined["ErrorCode"] == 79:
            joined = join("with the id it got", joined["MemberId"])
        member, generation = joined["MemberId"], joined["GenerationId"]
        join("of another type", ProtocolType="connect")
        join("without a common protocol", Protocols=[{"Name": "third", "Metadata": b""}])
        if version == side.newest("JoinGroup"):
            asked(side, group, member, generation)
        left = {"GroupId": group, "Members": [{"MemberId": member}]}
        side.keep(f"version {version}: leaves", side.named(unnamed(side.quietly("LeaveGroup", left))))


def unnamed(value, field=""):
    """Ids of members have something random in them."""
    if isinstance(value, dict):
        return {name: unnamed(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [unnamed(inner, field) for inner in value]
    return "an id" if field in ("MemberId", "Leader") and value and len(value) > 36 else value


def asked(side, group, member, generation):
    """Everything else that is asked of a classic group."""
    def ask(step, api, version, message):
        answer = side.quietly(api, message, version)
        for several in ("Groups", "Results"):
            # Kafka asks its coordinators one after the other, in no order.
            if answer.get(several) and "GroupId" in answer[several][0]:
                answer[several].sort(key=lambda one: one["GroupId"])
        side.keep(f"{api} {version}: {step}", side.named(unnamed(answer)))

    beat = {"GroupId": group, "GenerationId": generation, "MemberId": member}
    sync = beat | {"Assignments": [{"MemberId": member, "Assignment": b"share"}]}
    for version in side.versions("Heartbeat"):
        ask("before its assignment", "Heartbeat", version, beat)
    topic = {"Partitions": [{"PartitionIndex": 0, "CommittedOffset": 5, "CommittedMetadata": "m"}]}
    for version in side.versions("OffsetCommit"):
        names = {"Name": "classic"} if version < 10 else {"TopicId": side.ids["classic"]}
        commit = {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [topic | names]}
        ask("before its assignment", "OffsetCommit", version, commit)
    for version in side.versions("SyncGroup"):
        ask("a wrong generation", "SyncGroup", version, sync | {"GenerationId": generation + 1})
        ask("an unknown member", "SyncGroup", version, sync | {"MemberId": "nobody"})
        ask("an unknown group", "SyncGroup", version, sync | {"GroupId": "classic-no"})
    for version in side.versions("SyncGroup"):
        ask("assigned", "SyncGroup", version, sync)
        if version >= 5:
            ask("assigned, its protocol named", "SyncGroup", version, sync | {"ProtocolType": "consumer", "ProtocolName": "range"})
    for version in side.versions("Heartbeat"):
        ask("alive", "Heartbeat", version, beat)
        ask("a wrong generation", "Heartbeat", version, beat | {"GenerationId": generation + 1})
        ask("an unknown member", "Heartbeat", version, beat | {"MemberId": "nobody"})
        ask("an unknown group", "Heartbeat", version, beat | {"GroupId": "classic-no"})
    for version in side.versions("OffsetCommit"):
        names = {"Name": "classic"} if version < 10 else {"TopicId": side.ids["classic"]}
        commit = {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [topic | names]}
        ask("its own", "OffsetCommit", version, commit)
        ask("a wrong generation", "OffsetCommit", version, commit | {"GenerationIdOrMemberEpoch": generation + 1})
        ask("an unknown member", "OffsetCommit", version, commit | {"MemberId": "nobody"})
        ask("from outside", "OffsetCommit", version, commit | {"MemberId": "", "GenerationIdOrMemberEpoch": -1})
        ask("an unknown group", "OffsetCommit", version, commit | {"GroupId": "classic-no"})
        long = {"Partitions": [topic["Partitions"][0] | {"CommittedMetadata": "x" * 4097}]}
        ask("long metadata", "OffsetCommit", version, commit | {"Topics": [names | long]})
        nowhere = {"Partitions": [topic["Partitions"][0] | {"PartitionIndex": 7}]}
        ask("no partition", "OffsetCommit", version, commit | {"Topics": [names | nowhere]})
    for version in side.versions("OffsetFetch"):
        names = {"Name": "classic"} if version < 10 else {"TopicId": side.ids["classic"]}
        wanted = names | {"PartitionIndexes": [0, 1, 7]}
        for step, of in [("its own", group), ("an unknown group", "classic-no")]:
            asked_for = {"GroupId": of, "Topics": [wanted]} if version < 8 else {"Groups": [{"GroupId": of, "Topics": [wanted]}]}
            ask(step, "OffsetFetch", version, asked_for)
    for version in side.versions("DescribeGroups"):
        ask("stable", "DescribeGroups", version, {"Groups": [group, "classic-no"], "IncludeAuthorizedOperations": False})
    for version in side.versions("ListGroups"):
        listed = side.quietly("ListGroups", {}, version)
        listed["Groups"] = [one for one in listed["Groups"] if one["GroupId"] == group]
        side.keep(f"ListGroups {version}: all", side.named(listed))
    for version in side.versions("ListGroups", 4):
        for state in ("Stable", "stable", "Empty", "Nonsense"):
            listed = side.quietly("ListGroups", {"StatesFilter": [state]}, version)
            listed["Groups"] = [one for one in listed["Groups"] if one["GroupId"] == group]
            side.keep(f"ListGroups {version}: {state}", side.named(listed))
    for version in side.versions("OffsetDelete"):
        delete = {"GroupId": group, "Topics": [{"Name": "classic", "Partitions": [{"PartitionIndex": 0}]}]}
        ask("offsets", "OffsetDelete", version, delete)
        ask("of no group", "OffsetDelete", version, delete | {"GroupId": "classic-no"})
    for version in side.versions("DeleteGroups"):
        ask("in use and unknown", "DeleteGroups", version, {"GroupsNames": [group, "classic-no"]})


def kinds(side):
    """K8: each kind of group is described by its own API."""
    side.topic("kinds", 1)
    Group(side, "kinds", None, "kinds").join("joins", "a")
    settle(side, "kinds-no")
    for version in side.versions("DescribeGroups"):
        for name in ("kinds", "kinds-no"):
            asked = {"Groups": [name], "IncludeAuthorizedOperations": False}
            side.ask(f"version {version}: {name}", "DescribeGroups", version, asked)
    for version in side.versions("ConsumerGroupDescribe"):
        side.ask(f"version {version}: no group", "ConsumerGroupDescribe", version, {"GroupIds": ["kinds-no"], "IncludeAuthorizedOperations": False})
    for version in side.versions("DeleteGroups"):
        side.ask(f"version {version}: delete it", "DeleteGroups", version, {"GroupsNames": ["kinds"]})


def configured(side, step, key, operation, value, group="configured", only=False):
    configs = [{"Name": key, "ConfigOperation": operation, "Value": value}]
    message = {"Resources": [{"ResourceType": GROUP, "ResourceName": group, "Configs": configs}], "ValidateOnly": only}
    side.ask(step, "IncrementalAlterConfigs", side.newest("IncrementalAlterConfigs"), message)


def shown(side, step, group="configured"):
    time.sleep(0.2)  # Kafka's own description is late.
    message = {"Resources": [{"ResourceType": GROUP, "ResourceName": group, "ConfigurationKeys": None}]}
    message |= {"IncludeSynonyms": True, "IncludeDocumentation": False}
    answer = side.quietly("DescribeConfigs", message)
    for result in answer["Results"]:
        # Kafka has keys of kinds of groups that are not here.
        result["Configs"] = {entry["Name"]: entry for entry in result["Configs"] if entry["Name"].startswith("consumer.")}
    side.keep(step, side.named(answer))


def configs(side):
    """D1, D2: configurations of groups; and their list."""
    set_, delete, append = range(3)
    session, heartbeat, assignment = (f"consumer.{name}" for name in ("session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms"))
    shown(side, "nothing set")
    configured(side, "set", session, set_, "46000")
    shown(side, "one set")
    for number, (key, value) in enumerate([
        (session, "44999"), (session, "60001"), (session, "soon"), (session, ""), (session, "-1"), (heartbeat, "4999"), (heartbeat, "15001"),
        (heartbeat, "6000"), (assignment, "-1"), (assignment, "15001"), (assignment, "0"), ("no.such.key", "1"), ("retention.ms", "1"),
    ]):
        configured(side, f"set {number}", key, set_, value)
    configured(side, "without a value", session, set_, None)
    configured(side, "append", session, append, "1")
    configured(side, "only checked", session, set_, "47000", only=True)
    configured(side, "no name", session, set_, "46000", group="")
    shown(side, "some set")
    shown(side, "no name, shown", group="")
    listed(side)
    for key in (session, heartbeat, assignment):
        configured(side, f"delete {key}", key, delete, None)
    configured(side, "delete again", session, delete, None)
    shown(side, "all deleted")


def listed(side):
    for version in side.versions("ListConfigResources"):
        message = {} if version == 0 else {"ResourceTypes": [GROUP]}
        side.ask(f"version {version}: listed", "ListConfigResources", version, message)
    newest = side.newest("ListConfigResources")
    side.ask("an unknown kind", "ListConfigResources", newest, {"ResourceTypes": [77]})
    side.ask("brokers", "ListConfigResources", newest, {"ResourceTypes": [4]})


def classic_join(side, group, member="", instance=None):
    """A classic member joins, with the id it is given."""
    message = {
        "GroupId": group, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 40_000, "MemberId": member, "GroupInstanceId": instance,
        "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": SUBSCRIPTION}],
    }
    joined = side.quietly("JoinGroup", message)
    if joined["ErrorCode"] == 79:
        joined = side.quietly("JoinGroup", message | {"MemberId": joined["MemberId"]})
    return joined


def kind_of(side, step, group):
    listed = side.quietly("ListGroups", {"StatesFilter": [], "TypesFilter": []})
    side.keep(step, [f"{one['GroupType']} {one['GroupState']}" for one in listed["Groups"] if one["GroupId"] == group])


def crossings(side):
    """K7: from one protocol to the other, empty and live, and a classic member in the place of a consumer."""
    side.topic("crossings", 2)
    for name, instance in (("empty", None), ("static", "one"), ("taken", "one")):
        group = Group(side, f"crossing-{name}", None, "crossings")
        first = group.join(f"{name}: a consumer joins", "a", InstanceId=instance)
        if name != "taken":
            group.beat(f"{name}: it leaves", "a", -1 if name == "empty" else -2, InstanceId=instance)
        kind_of(side, f"{name}: left", group.name)
        joined = classic_join(side, group.name, "", instance)
        # In the place of a consumer its generation is the epoch that one had.
        generation = joined["GenerationId"] - (0 if name == "empty" else group.base)
        side.keep(f"{name}: a classic member joins", side.named(unnamed(joined | {"GenerationId": generation, "MemberId": "an id"})))
        kind_of(side, f"{name}: joined", group.name)
        named = {"GroupId": group.name, "GenerationId": joined["GenerationId"], "MemberId": joined["MemberId"], "GroupInstanceId": instance}
        share = [{"MemberId": joined["MemberId"], "Assignment": b"\0\0\0\0\0\0\0\0\0\0"}] if joined["Members"] else []
        synced = side.quietly("SyncGroup", named | {"ProtocolType": "consumer", "ProtocolName": "range", "Assignments": share})
        side.keep(f"{name}: synced", side.named(synced))
        side.keep(f"{name}: alive", side.quietly("Heartbeat", named)["ErrorCode"])
        gone = side.quietly("ConsumerGroupHeartbeat", group.message("a", 1, {"InstanceId": instance}))
        side.keep(f"{name}: its former self", gone["ErrorCode"])
        assert first["ErrorCode"] == 0, first


def vanished(side):
    """The topic of the groups is deleted: they are gone, and the next FindCoordinator makes another one. Comes last."""
    settle(side, "vanished")
    joined = classic_join(side, "vanished")
    beat = {"GroupId": "vanished", "GenerationId": joined["GenerationId"], "MemberId": joined["MemberId"]}
    side.remove("__consumer_offsets")
    deadline = time.monotonic() + 20
    while side.quietly("Heartbeat", beat)["ErrorCode"] != 16:
        assert time.monotonic() < deadline, f"{side.name} still has its groups"
        time.sleep(0.05)
    for version in side.versions("DescribeGroups"):
        message = {"Groups": ["vanished"], "IncludeAuthorizedOperations": False}
        side.ask(f"version {version}: described", "DescribeGroups", version, message)
    side.ask("nobody coordinates", "Heartbeat", side.newest("Heartbeat"), beat)
    side.keep("listed", side.named(side.quietly("ListGroups", {"StatesFilter": [], "TypesFilter": []})))
    settle(side, "vanished")
    side.ask("nobody knows it any more", "Heartbeat", side.newest("Heartbeat"), beat)


RULES = [classic, forms, life, statics, patterns, commits, kinds, configs, crossings, vanished]
