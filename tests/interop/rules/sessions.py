"""Fetch sessions: rules F13 and F14."""

from records import batch
from side import UNKNOWN


def open_session(side, step, version, *topics):
    """A full fetch that opens a session; its id."""
    message = side.fetch(topics[0], SessionId=0, SessionEpoch=0)
    for topic in topics[1:]:
        message["Topics"] += side.fetch(topic)["Topics"]
    return side.ask(step, "Fetch", version, message)["SessionId"]


def follow(side, step, version, session, epoch, topics=(), forgotten=(), **fields):
    message = {**side.fetch("unused"), "SessionId": session, "SessionEpoch": epoch, "Topics": list(topics), **fields}
    message["ForgottenTopicsData"] = [{"Topic": topic, "TopicId": side.id(topic), "Partitions": [0]} for topic in forgotten]
    return side.ask(step, "Fetch", version, message)


def incremental(side):
    """An incremental fetch tells only what changed; partitions come and go."""
    for version in side.versions("Fetch", 7):
        one, two, three = (f"session-{version}-{number}" for number in range(3))
        for topic in (one, two, three):
            side.topic(topic)
        side.fill(one, batch((b"a",)))
        session = open_session(side, f"version {version}: opened", version, one, two)
        at_end = side.fetch(one, 1)["Topics"]
        follow(side, f"version {version}: the position moves", version, session, 1, at_end)
        follow(side, f"version {version}: nothing new", version, session, 2)
        side.fill(two, batch((b"b",)))
        follow(side, f"version {version}: new in the second", version, session, 3)
        follow(side, f"version {version}: the same again", version, session, 4)
        follow(side, f"version {version}: read", version, session, 5, side.fetch(two, 1)["Topics"])
        follow(side, f"version {version}: a third one", version, session, 6, side.fetch(three)["Topics"])
        side.fill(three, batch((b"c",)))
        side.fill(one, batch((b"d",)))
        follow(side, f"version {version}: the first is forgotten", version, session, 7, forgotten=[one])
        follow(side, f"version {version}: an error", version, session, 8, side.fetch(three, 100)["Topics"])
        follow(side, f"version {version}: the error again", version, session, 9)
        follow(side, f"version {version}: forgotten and added again", version, session, 10, side.fetch(three, 1)["Topics"], [three])
        follow(side, f"version {version}: forgets what it has not", version, session, 11, forgotten=[one])
        unknown = side.fetch(f"session-{version}-none", topic_id=UNKNOWN)["Topics"]
        follow(side, f"version {version}: a topic nobody knows", version, session, 12, unknown)
        follow(side, f"version {version}: still nobody knows it", version, session, 13)
        follow(side, f"version {version}: closed", version, session, -1)
        follow(side, f"version {version}: used once closed", version, session, 14)


def refusals(side):
    """Sessions and epochs nobody knows."""
    side.topic("refused")
    side.fill("refused", batch())
    topics = side.fetch("refused")["Topics"]
    for version in side.versions("Fetch", 7):
        follow(side, f"version {version}: unknown session", version, 77, 1)
        follow(side, f"version {version}: no session, epoch 1", version, 0, 1)
        follow(side, f"version {version}: no session, epoch -1", version, 0, -1, topics)
        follow(side, f"version {version}: closes an unknown one", version, 78, -1, topics)
        follow(side, f"version {version}: epoch -2", version, 0, -2, topics)
        session = open_session(side, f"version {version}: opened", version, "refused")
        follow(side, f"version {version}: epoch too high", version, session, 5)
        follow(side, f"version {version}: the right epoch behind it", version, session, 1)
        follow(side, f"version {version}: the epoch again", version, session, 1)
        again = side.ask(f"version {version}: opened anew", "Fetch", version, side.fetch("refused", SessionId=session, SessionEpoch=0))
        side.keep(f"version {version}: another id", again["SessionId"] not in (0, session))
        follow(side, f"version {version}: the old one", version, session, 2)
        empty = side.ask(f"version {version}: without topics", "Fetch", version, {**side.fetch("x", SessionEpoch=0), "Topics": []})
        side.keep(f"version {version}: a session without topics", empty["SessionId"] != 0)


def modes(side):
    """Names in a session of ids, and ids in one of names."""
    versions = side.versions("Fetch")
    if 12 not in versions or 13 not in versions:
        return
    side.topic("modes")
    side.fill("modes", batch())
    for first, second in ((12, 13), (13, 12)):
        session = open_session(side, f"{first}: opened", first, "modes")
        follow(side, f"{first}, then {second}", second, session, 1, side.fetch("modes")["Topics"])
        session = open_session(side, f"{first}: opened again", first, "modes")
        follow(side, f"{first}, then {second} without topics", second, session, 1)


def recreated(side):
    """F10: a topic of a session is deleted, and one of its name made."""
    for version in side.versions("Fetch", 7):
        topic = f"recreated-{version}"
        side.topic(topic)
        side.fill(topic, batch((b"old",)))
        session = open_session(side, f"version {version}: opened", version, topic)
        side.remove(topic)
        follow(side, f"version {version}: gone", version, session, 1)
        side.topic(topic)
        side.fill(topic, batch((b"new",)))
        follow(side, f"version {version}: made again", version, session, 2)
        follow(side, f"version {version}: the new one", version, session, 3, side.fetch(topic)["Topics"])


RULES = [incremental, refusals, modes, recreated]
