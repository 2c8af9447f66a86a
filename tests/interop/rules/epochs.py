"""OffsetForLeaderEpoch: rule O4."""

from records import batch


def ask(side, step, version, topic, epoch, current=-1, partition=0):
    part = {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}
    message = {"ReplicaId": -1, "Topics": [{"Topic": topic, "Partitions": [part]}]}
    side.ask(f"version {version}: {step}", "OffsetForLeaderEpoch", version, message)


def ends(side):
    """The end of an epoch, in every version."""
    side.topic("ends", 2)
    side.fill("ends", batch((b"a", b"b", b"c")))
    for version in side.versions("OffsetForLeaderEpoch"):
        for epoch in (0, 1, -1, -2, 100):
            ask(side, f"epoch {epoch}", version, "ends", epoch)
            ask(side, f"epoch {epoch} of an empty log", version, "ends", epoch, partition=1)
        for current in (0, 1, -2):
            ask(side, f"current epoch {current}", version, "ends", 0, current)
        ask(side, "unknown partition", version, "ends", 0, partition=8)
        ask(side, "unknown topic", version, "ends-no", 0)


RULES = [ends]
