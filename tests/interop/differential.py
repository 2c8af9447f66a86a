"""The same frames to Millstream and to Apache Kafka, and their answers field by field.

    differential.py [--only PART] [--show]

Frames are written and answers read by the schemas in Kafka's own jar (`wire.py`). What is random or of one broker only (ports,
ids of topics, the clock) is named before it is compared (`side.py`). Every other difference has to stand in `differences.txt`
with its reason; a reason that explains nothing any more fails as well.
"""

import argparse
import collections
import contextlib
import fnmatch
import pathlib
import re
import sys
import time

from broker import Broker
from kafka_broker import Kafka
from rules import admin, epochs, fetch, framing, groups, limits, offsets, produce, sessions, topics
from side import Side, flat
from wire import Malformed

REASONS = pathlib.Path(__file__).parent / "differences.txt"
PARTS = [framing, topics, produce, fetch, sessions, offsets, epochs, admin, groups]
FIELDS_TOLD = 4
SETTINGS = ["node.id=1", "num.partitions=2", "log.retention.ms=-1", "group.initial.rebalance.delay.ms=0"]


def reasons():
    """Patterns with their reasons: a pattern stands at the start of a line, its reason is indented below."""
    found, pattern = {}, None
    for line in REASONS.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            for each in pattern:
                found[each] += line.strip() + " "
        else:
            pattern = pattern + [line.strip()] if pattern and not found[pattern[0]] else [line.strip()]
            found.setdefault(line.strip(), "")
    empty = [pattern for pattern, reason in found.items() if not reason]
    assert not empty, f"{REASONS.name}: {empty[0]} has no reason"
    return found


def compare(ours, theirs, known, used):
    """Prints and counts differences that no reason explains; those of several versions stand in one line."""
    found = {}
    for step in [step for step in ours if step in theirs]:
        left, right = flat(ours[step]), flat(theirs[step])
        if not isinstance(ours[step], dict) or not isinstance(theirs[step], dict):
            left, right = {"": str(ours[step])}, {"": str(theirs[step])}
        for field in dict.fromkeys([*left, *right]):
            mine, kafkas = left.get(field, "absent"), right.get(field, "absent")
            if mine == kafkas:
                continue
            place = f"{step}: {field}"
            pattern = next((each for each in known if fnmatch.fnmatchcase(f"{place}: {mine!r} not {kafkas!r}", each)), None)
            if pattern:
                used.add(pattern)
                continue
            version = re.search(r"version (\d+)", place)
            across = re.sub(r"version \d+", "version *", place, count=1)
            found.setdefault((across, repr(mine), repr(kafkas)), []).append(version[1] if version else "")
    told = collections.Counter()
    for (place, mine, kafkas), versions in found.items():
        step = place.rpartition(": ")[0]
        told[step] += 1
        if told[step] <= FIELDS_TOLD:
            print(f"    {place}: Millstream {mine:.200}, Kafka {kafkas:.200}{' in ' + ' '.join(versions) if versions[0] else ''}")
        elif told[step] == FIELDS_TOLD + 1:
            print(f"    {step}: and more")
    return sum(map(len, found.values()))


def run(parts, settings, known, used, show):
    bad = 0
    with contextlib.ExitStack() as stack:
        kafka = Kafka("kafka-differential", settings)
        kafka.launch()
        stack.push(kafka)
        broker = stack.enter_context(Broker("differential", settings=settings))
        kafka.wait()
        sides = [Side("Millstream", broker.address), Side("Kafka", kafka.address)]
        sides[1].advertised, sides[0].kafkas = sides[0].advertised, sides[1].kafkas
        for part in parts:
            for rule in part.RULES:
                began, name = time.monotonic(), f"{part.__name__.split('.')[-1]}.{rule.__name__}"
                for side in sides:
                    side.begin(name)
                    try:
                        rule(side)
                    except (AssertionError, EOFError, OSError, Malformed) as error:
                        bad += 1
                        print(f"    {name} ended early at {side.name}: {error!r:.300}")
                asked = len(sides[0].heard)
                bad += compare(sides[0].heard, sides[1].heard, known, used)
                if show:
                    print(f"    {name}: {asked} answers in {time.monotonic() - began:.1f} s")
                run.answers += asked
    return bad


run.answers = 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one part, such as fetch")
    parser.add_argument("--show", action="store_true", help="tell every rule")
    args = parser.parse_args()
    known, used = reasons(), set()
    chosen = [part for part in PARTS if not args.only or part.__name__ == f"rules.{args.only}"]
    bad = run(chosen, SETTINGS, known, used, args.show) if chosen else 0
    if args.only in (None, "limits"):
        bad += run([limits], [*SETTINGS[:2], *limits.SETTINGS], known, used, args.show)
    needed = {known[pattern] for pattern in used}
    if not args.only:
        for reason in set(known.values()) - needed:
            bad += 1
            print(f"    {REASONS.name}: nothing differs any more where it says: {reason}")
    print(f"    {run.answers} answers compared; intended differences of {len(needed)} reasons")
    if bad:
        sys.exit(f"differential: {bad} differences without a reason")


if __name__ == "__main__":
    main()
