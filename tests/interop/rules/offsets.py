"""ListOffsets and DeleteRecords: rules O1, O2, O3, O5."""

from records import NOW, batch


def special(side):
    """O1: the special offsets, in every version, of a log with and without records."""
    side.topic("special", 2)
    side.fill("special", batch((b"a", b"b"), timestamp=NOW), batch((b"c",), timestamp=NOW + 50), batch((b"d",), timestamp=NOW + 10))
    for version in side.versions("ListOffsets"):
        for timestamp in range(-8, 0):
            for partition, name in ((0, "full"), (1, "empty")):
                message = side.list_offsets("special", timestamp, partition)
                side.ask(f"version {version}: {timestamp}, {name}", "ListOffsets", version, message)
        if version >= 2:
            side.ask(f"version {version}: stable", "ListOffsets", version, side.list_offsets("special", -1, isolation=1))


def times(side):
    """O2: the first record that is as new as wanted, inside of batches and across them."""
    side.topic("searched")
    side.fill("searched", batch((b"a", b"b", b"c"), timestamp=NOW, step=10))
    side.fill("searched", batch((b"d", b"e", b"f"), "gzip", timestamp=NOW + 100, step=10))
    side.fill("searched", batch((b"g",), timestamp=NOW + 50), batch((b"h",), timestamp=-1), batch((b"i",), timestamp=NOW + 200))
    for version in sorted({1, 4, 5, 6, side.newest("ListOffsets")}):
        for delta in (-5, 0, 1, 10, 20, 21, 50, 60, 100, 105, 120, 121, 200, 201):
            side.ask(f"version {version}: {delta}", "ListOffsets", version, side.list_offsets("searched", NOW + delta))
        side.ask(f"version {version}: zero", "ListOffsets", version, side.list_offsets("searched", 0))
        side.ask(f"version {version}: far away", "ListOffsets", version, side.list_offsets("searched", 2**62))


def newest_record(side):
    """O1: the record with the largest timestamp, the first of equals."""
    if side.newest("ListOffsets") < 7:
        return
    for name, batches in {
        "equal": [batch((b"a", b"b"), timestamp=NOW, step=0), batch((b"c",), timestamp=NOW)],
        "inside": [batch((b"a", b"b", b"c"), timestamp=NOW, step=5), batch((b"d",), timestamp=NOW + 1)],
        "compressed": [batch((b"a", b"b", b"c"), "zstd", timestamp=NOW, step=5)],
        "without times": [batch((b"a",), timestamp=-1)],
    }.items():
        side.topic(f"newest-{name.split()[0]}")
        side.fill(f"newest-{name.split()[0]}", *batches)
        side.ask(name, "ListOffsets", side.newest("ListOffsets"), side.list_offsets(f"newest-{name.split()[0]}", -3))


def refusals(side):
    """O3, F8: unknown partitions, one twice, epochs of the leader."""
    side.topic("asked")
    for version in side.versions("ListOffsets"):
        side.ask(f"version {version}: unknown partition", "ListOffsets", version, side.list_offsets("asked", -1, 4))
        side.ask(f"version {version}: unknown topic", "ListOffsets", version, side.list_offsets("asked-no", -1))
        twice = side.list_offsets("asked", -1)
        twice["Topics"][0]["Partitions"] *= 2
        side.ask(f"version {version}: twice", "ListOffsets", version, twice)
        side.ask(f"version {version}: no topics", "ListOffsets", version, {**twice, "Topics": []})
        if version >= 4:
            for epoch in (0, 1, -2):
                side.ask(f"version {version}: epoch {epoch}", "ListOffsets", version, side.list_offsets("asked", -1, epoch=epoch))


def delete(topic, offset, partition=0):
    part = {"PartitionIndex": partition, "Offset": offset}
    return {"Topics": [{"Name": topic, "Partitions": [part]}], "TimeoutMs": 5000}


def records_deleted(side):
    """O5: the log starts later, at once and for everybody."""
    for version in side.versions("DeleteRecords"):
        topic = f"shortened-{version}"
        side.topic(topic, 2)
        side.fill(topic, batch((b"a", b"b", b"c")), batch((b"d", b"e")))
        for offset in (1, 0, 4, -2, 6, -1):
            side.ask(f"version {version}: up to {offset}", "DeleteRecords", version, delete(topic, offset))
            if offset >= -1:
                newest = side.newest("ListOffsets")
                for timestamp in (-2, -1, NOW):
                    side.ask(f"version {version}: up to {offset}, {timestamp}", "ListOffsets", newest, side.list_offsets(topic, timestamp))
                for start in (0, 1, 3, 4, 5):
                    side.ask(f"version {version}: up to {offset}, read {start}", "Fetch", side.newest("Fetch"), side.fetch(topic, start))
        side.fill(topic, batch((b"f",)))
        side.ask(f"version {version}: goes on", "Fetch", side.newest("Fetch"), side.fetch(topic, 5))
        side.ask(f"version {version}: empty partition", "DeleteRecords", version, delete(topic, -1, 1))
        side.ask(f"version {version}: unknown partition", "DeleteRecords", version, delete(topic, -1, 9))
        side.ask(f"version {version}: unknown topic", "DeleteRecords", version, delete("shortened-no", 0))
        side.ask(f"version {version}: nothing", "DeleteRecords", version, {"Topics": [], "TimeoutMs": 100})
    if side.versions("DeleteRecords"):
        for policy in ("compact", "compact,delete", "delete"):
            topic = "shortened-" + policy.replace(",", "-")
            side.topic(topic, configs={"cleanup.policy": policy})
            side.fill(topic, batch())
            side.ask(policy, "DeleteRecords", side.newest("DeleteRecords"), delete(topic, 1))


RULES = [special, times, newest_record, refusals, records_deleted]
