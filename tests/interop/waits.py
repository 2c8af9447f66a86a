"""How long others wait on a shard that does something large: ApiVersions is asked over and over on another connection meanwhile. One
shard, so that everything happens on it. Prints the worst and the 99th percentile of three goes each; with --kafka also how long
creating the same topics takes there. With --ahead (root only) the broker and who asks run before everything else of the machine: what the
client that creates takes of a processor does not count then.

    waits.py [--kafka] [--ahead] [--only search,many,huge]
"""

import argparse
import contextlib
import gc
import multiprocessing
import os
import random
import struct
import sys
import time

import wire
from broker import Broker
from kafka_broker import Kafka
from records import NOW, batch
from wire import Connection

GOES = 3
TOPICS, PER_REQUEST = 10_000, 500
PARTITIONS = 10_000
# What no other request may wait, with all that a busy machine adds to it: that somebody is held up for as long as the work takes is a
# defect anywhere; the figures themselves are for the reader.
BOUND_S = 5
# Set by --ahead.
AHEAD = False


def go_ahead(pid):
    """All threads of a process run before those of ordinary ones."""
    if AHEAD:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))


def probe(address, pipe):
    """Asks until it is told to end; says how long each took, in seconds."""
    gc.disable()
    go_ahead(os.getpid())
    frame = wire.request("ApiVersions", 0, 1, {})
    with Connection(address) as connection:
        pipe.send("ready")
        took = []
        while not pipe.poll():
            began = time.perf_counter()
            connection.send(frame)
            connection.frame()
            took.append(time.perf_counter() - began)
            time.sleep(0.0003)
        pipe.send(took)


@contextlib.contextmanager
def others(address):
    """What others wait while the body runs."""
    fork = multiprocessing.get_context("fork")
    mine, theirs = fork.Pipe()
    prober = fork.Process(target=probe, args=(address, theirs))
    prober.start()
    mine.recv()
    time.sleep(0.2)
    waits = []
    try:
        yield waits
    finally:
        mine.send("end")
        waits.extend(sorted(mine.recv()))
        prober.join()


def tell(name, goes, note=""):
    """`goes` are the sorted waits of each."""
    worst = ", ".join(f"{waits[-1] * 1000:.2f}" for waits in goes)
    p99 = ", ".join(f"{waits[len(waits) * 99 // 100] * 1000:.2f}" for waits in goes)
    over = sum(wait > 0.001 for waits in goes for wait in waits)
    count = sum(map(len, goes))
    print(f"    {name}: others wait at most {worst} ms, p99 {p99} ms; {over} of {count} above 1 ms{note}", flush=True)
    assert max(waits[-1] for waits in goes) < BOUND_S, f"{name}: others waited too long"


def times(name, address, go, note=""):
    """Goes of one thing, each beside a probe."""
    goes, took = [], []
    for number in range(GOES):
        with others(address) as waits:
            began = time.perf_counter()
            go(number)
            took.append(time.perf_counter() - began)
        goes.append(waits)
    tell(name, goes, f"; it takes {', '.join(f'{each * 1000:.0f}' for each in took)} ms{note}")
    return took


def nothing(broker):
    go_ahead(broker.process.pid)
    times("nothing else", broker.address, lambda _: time.sleep(2))


def large_batch():
    """About 10 MB of zstd: text that compresses a little."""
    chance = random.Random(1)
    letters = bytes(range(33, 97))
    values = [bytes(chance.choices(letters, k=1024)) for _ in range(13_000)]
    return batch(values, codec="zstd", keys=[None] * len(values)), len(values)


def check_search():
    with Broker("waits-search", settings=["message.max.bytes=20000000"]) as broker, Connection(broker.address, 120) as connection:
        created(connection, ["large"])
        data, count = large_batch()
        part = {"Index": 0, "Records": data}
        message = {"TransactionalId": None, "Acks": -1, "TimeoutMs": 30000, "TopicData": [{"Name": "large", "PartitionData": [part]}]}
        done = connection.ask("Produce", 9, message)["Responses"][0]["PartitionResponses"][0]
        assert done["ErrorCode"] == 0, done
        nothing(broker)

        def search(_):
            for number in range(20):
                wanted = NOW + count - 1 - number
                part = {"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": wanted}
                message = {"ReplicaId": -1, "IsolationLevel": 0, "Topics": [{"Name": "large", "Partitions": [part]}]}
                found = connection.ask("ListOffsets", 5, message)["Topics"][0]["Partitions"][0]
                assert (found["ErrorCode"], found["Timestamp"]) == (0, wanted), found

        times(f"20 searches by time in a zstd batch of {len(data) / 1e6:.1f} MB", broker.address, search)


def created(connection, names, partitions=1):
    topics = [{"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Assignments": [], "Configs": []} for name in names]
    made = connection.ask("CreateTopics", 4, {"Topics": topics, "timeoutMs": 60000, "validateOnly": False})["Topics"]
    assert all(topic["ErrorCode"] == 0 for topic in made), made[0]


def deleted(connection, names):
    gone = connection.ask("DeleteTopics", 4, {"TopicNames": names, "TimeoutMs": 60000})["Responses"]
    assert all(topic["ErrorCode"] == 0 for topic in gone), gone[0]


def batches(go):
    names = [f"go-{go}-topic-{number:05}" for number in range(TOPICS)]
    return [names[at : at + PER_REQUEST] for at in range(0, TOPICS, PER_REQUEST)]


def raw(connection, api, version, message):
    """Sends and waits for the answer without reading it: what takes long here is not the broker. Gives its bytes."""
    frame = wire.request(api, version, 1, message)
    connection.send(frame)
    size = struct.unpack(">i", connection.exactly(4))[0]
    left, view = size, memoryview(bytearray(1 << 20))
    while left:
        left -= connection.socket.recv_into(view, min(left, 1 << 20))
    return size


def check_many(kafka):
    took = []
    with Broker("waits-many") as broker, Connection(broker.address, 120) as connection:
        nothing(broker)

        def create(go):
            for names in batches(go):
                created(connection, names)

        def remove(go):
            for names in batches(go):
                deleted(connection, names)

        for go in range(GOES):
            with others(broker.address) as waits:
                began = time.perf_counter()
                create(go)
                took.append(time.perf_counter() - began)
            tell(f"creation of {TOPICS} topics, {PER_REQUEST} a request", [waits], f"; it takes {took[-1]:.2f} s")
            metadata = []

            def ask(_):
                began = time.perf_counter()
                raw(connection, "Metadata", 9, {"Topics": None, "AllowAutoTopicCreation": False})
                metadata.append((time.perf_counter() - began) * 1000)

            times("Metadata of all topics", broker.address, ask)
            with others(broker.address) as waits:
                began = time.perf_counter()
                remove(go)
                took_gone = time.perf_counter() - began
            tell(f"deletion of them, {PER_REQUEST} a request", [waits], f"; it takes {took_gone:.2f} s")
    if kafka:
        with Kafka("waits-many") as other, Connection(other.address, 120) as connection:
            began = time.perf_counter()
            for names in batches(0):
                created(connection, names)
            kafkas = time.perf_counter() - began
            print(f"    Kafka creates them in {kafkas:.2f} s; Millstream in {min(took):.2f} to {max(took):.2f} s", flush=True)


def check_huge():
    with Broker("waits-huge") as broker, Connection(broker.address, 120) as connection:
        nothing(broker)
        times(f"creation of a topic of {PARTITIONS} partitions", broker.address, lambda go: created(connection, [f"huge-{go}"], PARTITIONS))
        everything = {"Topics": [{"Name": "huge-0"}], "AllowAutoTopicCreation": False}
        times("Metadata of it", broker.address, lambda _: raw(connection, "Metadata", 8, everything))
        parts = [{"PartitionIndex": index, "CurrentLeaderEpoch": -1, "Timestamp": -1} for index in range(PARTITIONS)]
        offsets = {"ReplicaId": -1, "IsolationLevel": 0, "Topics": [{"Name": "huge-0", "Partitions": parts}]}
        times("ListOffsets of all of it", broker.address, lambda _: raw(connection, "ListOffsets", 5, offsets))
        parts = [{"Partition": index, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20} for index in range(PARTITIONS)]
        fetch = {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "Topics": [{"Topic": "huge-0", "Partitions": parts}]}
        times("Fetch of all of it", broker.address, lambda _: raw(connection, "Fetch", 11, fetch))
        session = {**fetch, "SessionId": 0, "SessionEpoch": 0}
        times("Fetch of all of it, which begins a session", broker.address, lambda _: raw(connection, "Fetch", 11, session))
        times("deletion of it", broker.address, lambda go: deleted(connection, [f"huge-{go}"]))


def main():
    global AHEAD
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--ahead", action="store_true")
    parser.add_argument("--only", default="search,many,huge")
    given = parser.parse_args()
    AHEAD = given.ahead
    for name in given.only.split(","):
        {"search": check_search, "many": lambda: check_many(given.kafka), "huge": check_huge}[name]()


if __name__ == "__main__":
    sys.exit(main())
