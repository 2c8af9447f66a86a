"""Reading: rules F1 to F11."""

import threading
import time

from records import batch
from side import UNKNOWN
from wire import Connection


def versions(side):
    """F5, F6: data, the end, behind it, an empty partition, in every version."""
    side.topic("read", 2)
    side.fill("read", batch((b"a", b"b")), batch((b"c",)))
    for version in side.versions("Fetch"):
        for name, message in {
            "from the start": side.fetch("read"),
            "at the end": side.fetch("read", 3),
            "behind the end": side.fetch("read", 4),
            "before the start": side.fetch("read", -1),
            "an empty partition": side.fetch("read", partition=1),
            "an unknown partition": side.fetch("read", partition=5),
            "an unknown topic": side.fetch("read-no", topic_id=UNKNOWN),
            "committed only": side.fetch("read", IsolationLevel=1),
            "no topics": {**side.fetch("read"), "Topics": []},
        }.items():
            side.ask(f"version {version}: {name}", "Fetch", version, message)


def several(side):
    """F1, F3: several partitions, good and bad, in the order they were asked; one twice."""
    side.topic("several", 3)
    side.topic("several-two")
    side.fill("several", batch((b"a",)))
    side.fill("several", batch((b"b",)), partition=2)
    side.fill("several-two", batch((b"c",)))
    for version in dict.fromkeys((4, 11, 12, side.newest("Fetch"))):
        if version not in side.versions("Fetch"):
            continue
        message = side.fetch("several", partition=2)
        part = message["Topics"][0]["Partitions"]
        part += [{**part[0], "Partition": 9}, {**part[0], "Partition": 0}, {**part[0], "Partition": 1}]
        message["Topics"] += side.fetch("several-two")["Topics"] + side.fetch("nothing", topic_id=UNKNOWN)["Topics"]
        side.ask(f"version {version}: order", "Fetch", version, message)
        twice = side.fetch("several")
        twice["Topics"][0]["Partitions"] *= 2
        side.ask(f"version {version}: twice", "Fetch", version, twice)


def inside_batches(side):
    """F2: an offset inside a batch gives all of it."""
    side.topic("inside")
    side.fill("inside", batch([b"v%d" % number for number in range(5)]), batch([b"w%d" % number for number in range(5)], "lz4"))
    for offset in range(10):
        side.ask(f"offset {offset}", "Fetch", side.newest("Fetch"), side.fetch("inside", offset))


def sizes(side):
    """F1: limits of the partition and of the answer; the first batch always comes whole."""
    side.topic("limits", 3)
    for partition in range(3):
        side.fill("limits", *[batch((b"x" * 900,)) for _ in range(4)], partition=partition)
    size = len(batch((b"x" * 900,)))
    version = side.newest("Fetch")
    for name, part, fields in [
        ("one byte", {"PartitionMaxBytes": 1}, {}),
        ("no bytes", {"PartitionMaxBytes": 0}, {}),
        ("negative", {"PartitionMaxBytes": -1}, {}),
        ("one batch", {"PartitionMaxBytes": size}, {}),
        ("a byte below two", {"PartitionMaxBytes": 2 * size - 1}, {}),
        ("two batches", {"PartitionMaxBytes": 2 * size}, {}),
        ("answer of one byte", {}, {"MaxBytes": 1}),
        ("answer of no bytes", {}, {"MaxBytes": 0}),
        ("answer of two batches", {}, {"MaxBytes": 2 * size}),
        ("answer of one and a half", {}, {"MaxBytes": size * 3 // 2}),
    ]:
        answer = side.quietly("Fetch", side.fetch("limits", part=part, **fields), version)
        side.keep(name, whole(side.named(answer)))
        message = side.fetch("limits", part=part, **fields)
        first = message["Topics"][0]["Partitions"][0]
        message["Topics"][0]["Partitions"] = [{**first, "Partition": partition} for partition in (1, 0, 2)]
        side.keep(f"{name}, three partitions", whole(side.named(side.quietly("Fetch", message, version))))
    side.topic("limits-empty")
    message = side.fetch("limits", 4, part={"PartitionMaxBytes": 1})
    message["Topics"][0]["Partitions"] += side.fetch("limits", 0, 1, part={"PartitionMaxBytes": 1})["Topics"][0]["Partitions"]
    side.keep("the first that is not empty", whole(side.named(side.quietly("Fetch", message, version))))


def whole(answer):
    """With the number of whole batches in place of the records."""
    for topic in answer["Responses"]:
        for part in topic["Partitions"]:
            part["Records"] = len(part["Records"] or [])
    return answer


def waiting(side):
    """F3: how long a fetch waits, and what wakes it."""
    side.topic("wait", 2)
    side.fill("wait", batch((b"x" * 100,)))
    version = side.newest("Fetch")
    size = len(batch((b"x" * 100,)))

    def ask(name, message, slow, meanwhile=None):
        worker = None
        if meanwhile:
            worker = threading.Thread(target=lambda: (time.sleep(0.2), meanwhile()))
            worker.start()
        began = time.monotonic()
        side.ask(name, "Fetch", version, message)
        took = time.monotonic() - began
        if worker:
            worker.join()
        side.keep(f"{name}: waits", took > 0.15)
        side.keep(f"{name}: waits to the end", took >= slow)

    def append(partition, *batches):
        with Connection(side.address) as other:
            for data in batches:
                other.ask("Produce", side.newest("Produce"), side.produce("wait", data, partition))

    ask("data is there", side.fetch("wait", 0, MaxWaitMs=1000), 0.9)
    ask("at the end", side.fetch("wait", 1, MaxWaitMs=400), 0.35)
    ask("not enough", side.fetch("wait", 0, MaxWaitMs=400, MinBytes=size + 1), 0.35)
    ask("just enough", side.fetch("wait", 0, MaxWaitMs=1000, MinBytes=size), 0.9)
    ask("no wait", side.fetch("wait", 1, MaxWaitMs=0), 0.9)
    ask("negative wait", side.fetch("wait", 1, MaxWaitMs=-1), 0.9)
    ask("no bytes wanted", side.fetch("wait", 1, MaxWaitMs=1000, MinBytes=0), 0.9)
    ask("an error", side.fetch("wait", 77, MaxWaitMs=1000), 0.9)
    ask("an unknown partition", side.fetch("wait", 0, 9, MaxWaitMs=1000), 0.9)
    ask("no topics", {**side.fetch("wait", MaxWaitMs=1000), "Topics": []}, 0.9)
    ask("woken by an append", side.fetch("wait", 1, MaxWaitMs=3000), 2.5, lambda: append(0, batch((b"new",))))
    ask("an append elsewhere", side.fetch("wait", 2, MaxWaitMs=700), 0.6, lambda: append(1, batch((b"new",))))
    both = batch((b"y" * 100,))
    ask("enough after two", side.fetch("wait", 2, MaxWaitMs=3000, MinBytes=2 * len(both)), 2.5, lambda: append(0, both, both))

    def delete():
        with Connection(side.address) as other:
            other.ask("DeleteTopics", 1, {"TopicNames": ["wait"], "TimeoutMs": 5000})

    ask("woken by a deletion", side.fetch("wait", 4, MaxWaitMs=3000), 2.5, delete)


def epochs(side):
    """F8, F9: epochs of the leader and of what was read last."""
    side.topic("epochs")
    side.fill("epochs", batch((b"a", b"b")))
    for version in side.versions("Fetch", 9):
        for epoch in (-1, 0, 1, -2):
            side.ask(f"version {version}: leader epoch {epoch}", "Fetch", version, side.fetch("epochs", part={"CurrentLeaderEpoch": epoch}))
        if version >= 12:
            for epoch, offset in [(0, 1), (0, 2), (0, 3), (1, 1), (-1, 1), (0, 0), (5, 2), (-2, 1)]:
                part = {"LastFetchedEpoch": epoch, "CurrentLeaderEpoch": 0}
                side.ask(f"version {version}: fetched {epoch} up to {offset}", "Fetch", version, side.fetch("epochs", offset, part=part))


def ids(side):
    """F10: ids of topics that are gone, were made again, or were never there."""
    if side.newest("Fetch") < 13:
        return
    side.topic("again")
    side.fill("again", batch())
    before = side.id("again")
    side.remove("again")
    side.topic("again")
    side.fill("again", batch((b"new",)))
    for version in side.versions("Fetch", 13):
        side.ask(f"version {version}: before", "Fetch", version, side.fetch("again", topic_id=before))
        side.ask(f"version {version}: after", "Fetch", version, side.fetch("again"))
        side.ask(f"version {version}: zero", "Fetch", version, side.fetch("again", topic_id="00000000-0000-0000-0000-000000000000"))
        mixed = side.fetch("again")
        mixed["Topics"] += side.fetch("again", topic_id=UNKNOWN)["Topics"]
        side.ask(f"version {version}: unknown beside known", "Fetch", version, mixed)


def replicas(side):
    """Readers that say they are replicas or debuggers."""
    side.topic("replicas")
    side.fill("replicas", batch())
    for version in side.versions("Fetch"):
        for replica in (-2, 0, 1, 9):
            fields = {"ReplicaId": replica} if version < 15 else {"ReplicaState": {"ReplicaId": replica, "ReplicaEpoch": -1}}
            side.ask(f"version {version}: replica {replica}", "Fetch", version, side.fetch("replicas", **fields))
        if version >= 11:
            side.ask(f"version {version}: rack", "Fetch", version, side.fetch("replicas", RackId="rack"))
        if version >= 12:
            side.ask(f"version {version}: another cluster", "Fetch", version, side.fetch("replicas", ClusterId="another"))


RULES = [versions, several, inside_batches, sizes, waiting, epochs, ids, replicas]
