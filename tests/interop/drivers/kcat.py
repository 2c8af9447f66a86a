"""kcat: a process per run of records that its options can say together."""

import itertools
import json
import re
import subprocess
import sys

import common

BROKER = sys.argv[1]


def kcat(*arguments, text=None, seconds=40):
    done = subprocess.run(["kcat", "-b", BROKER, *arguments], input=text, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def produce(topic, codec, acks, records):
    settings = ["-z", codec, "-X", f"acks={'-1' if acks == 'all' else acks}", "-X", "message.max.bytes=20000000"]
    settings += ["-X", "enable.idempotence=true"] if acks == "all" else []

    def alike(each):
        return each["partition"], each["key"] is None, each["value"] is None, tuple(map(tuple, each["headers"]))

    for (partition, no_key, no_value, headers), run in itertools.groupby(records, alike):
        options = list(itertools.chain.from_iterable(["-H", f"{name}={value}"] for name, value in headers))
        options += ["-Z"] if no_value else []
        options += [] if no_key else ["-K", "#"]
        lines = "".join((each["value"] or "") + "\n" if no_key else f"{each['key']}#{each['value'] or ''}\n" for each in run)
        kcat("-P", "-t", topic, "-p", str(partition), *settings, *options, text=lines)


def consume(topic, **wanted):
    seen = []
    for partition, offset in wanted["from"]:
        left = wanted["count"] - len(seen)
        stop = ["-c", str(left)] if len(wanted["from"]) == 1 else ["-e"]
        lines = kcat(
            "-C", "-J", "-q", "-u", "-t", topic, "-p", str(partition), "-o", str(offset), *stop, "-X", "check.crcs=true",
            "-X", "fetch.message.max.bytes=20000000", seconds=wanted["seconds"] + 20,
        )
        for line in lines.splitlines():
            found = json.loads(line)
            headers = found.get("headers") or []
            seen.append({
                "partition": found["partition"], "offset": found["offset"], "timestamp": found["ts"], "key": found["key"],
                "value": found["payload"], "headers": [list(pair) for pair in zip(headers[::2], headers[1::2])],
            })
    return {"records": seen}


def search(topic, partition, timestamp):
    found = re.search(r"offset (-?\d+)", kcat("-Q", "-t", f"{topic}:{partition}:{timestamp}"))
    return {"offset": int(found[1])}


about = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=False).stdout
version = re.search(r"Version ([\d.]+).*?librdkafka ([\d.]+)", about, re.S)
common.run(
    {
        "name": "kcat", "version": f"{version[1]}, librdkafka {version[2]}", "codecs": ["none", "gzip", "snappy", "lz4", "zstd"],
        "cannot": ["create", "delete", "timestamps"],
    },
    {"produce": produce, "consume": consume, "search": search},
)
