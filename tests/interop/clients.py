"""Real clients: what each of them does as with Apache Kafka, and whether every other one reads what it wrote.

    clients.py [--broker HOST:PORT] [--shards N] [--clients NAME,...]

Without --broker a Millstream of its own is started. Ends with the table of what ran.
"""

import argparse
import concurrent.futures
import contextlib
import sys
import threading
import time
import uuid

from broker import Broker
from driver import COMMANDS, Driver, Refused

PARTITIONS = 4
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = ["0", "1", "all"]
LARGE = 10_000_000
DAY = 86_400_000


def content(name, codec, acks, base):
    """What a client sends with one codec and acks: tiny and larger records, nulls, headers; in an order that kcat can say."""
    records = []
    for partition in range(PARTITIONS):
        for kind in ("plain", "plain", "long", "no key", "empty", "no value", "headers"):
            key = f"{name}/{codec}/{acks}/{len(records)}"
            value = {"plain": "v", "long": key + "x" * 3000, "empty": "", "no value": None}.get(kind, key)
            headers = [["source", name], ["kind", "headers"]] if kind == "headers" else []
            records.append({
                "partition": partition, "key": None if kind == "no key" else key, "value": value, "headers": headers,
                "timestamp": base + len(records) * 1000,
            })
    return records


def comparable(record, *clients):
    """What has to be equal of a record that these clients wrote and read."""
    headers = tuple(map(tuple, record["headers"]))
    if not all(client.can("header order") for client in clients):
        headers = tuple(sorted(headers))
    timestamp = record["timestamp"] if all(client.can("timestamps") for client in clients) else None
    return record["key"], record["value"], headers, timestamp


def check_round_trips(clients, makers, run):
    """Every client writes with every codec and acks; every client that reads without a group reads all of it."""
    base = int(time.time()) * 1000 - DAY
    for writer in clients:
        topic = f"trip-{writer.name}-{run}"
        makers(writer).ask("create", topic=topic, partitions=PARTITIONS, configs={})
        expected = {partition: [] for partition in range(PARTITIONS)}
        for codec in writer.about["codecs"]:
            for acks in writer.about.get("acks", ACKS):
                records = content(writer.name, codec, acks, base)
                writer.ask("produce", topic=topic, codec=codec, acks=acks, records=records)
                for record in records:
                    expected[record["partition"]].append(record)
        count = sum(map(len, expected.values()))
        readers = [reader for reader in clients if reader.can("consume")]
        start = [[partition, 0] for partition in range(PARTITIONS)]
        for reader in readers:
            reader.tell("consume", topic=topic, count=count, seconds=30, **{"from": start})
        for reader in readers:
            seen = reader.answer()["records"]
            assert len(seen) == count, f"{reader.name} read {len(seen)} records of {count} that {writer.name} wrote"
            for partition, wanted in expected.items():
                found = sorted((record for record in seen if record["partition"] == partition), key=lambda record: record["offset"])
                offsets = [record["offset"] for record in found]
                assert offsets == list(range(len(wanted))), f"{reader.name}: offsets {offsets[:5]} of {partition}"
                for number, (record, sent) in enumerate(zip(found, wanted)):
                    same = comparable(record, writer, reader) == comparable(sent, writer, reader)
                    assert same, f"{reader.name} of {writer.name}: {partition}/{number}: {record} not {sent}"
        print(f"    {writer.name} wrote {count} records, {len(writer.about['codecs'])} codecs; read by {len(readers)} clients")


def check_large(clients, makers, run):
    """A record of 10 MB, in a topic that allows it; and its refusal in one that does not."""
    value = "".join(chr(33 + number * 7919 % 90) for number in range(1000)) * (LARGE // 1000)
    record = {"partition": 0, "key": "large", "value": value, "headers": [], "timestamp": None}
    for writer in clients:
        configs = {"max.message.bytes": str(LARGE + 100_000)}
        makers(writer, "configs").ask("create", topic=f"large-{writer.name}-{run}", partitions=1, configs=configs)
        makers(writer).ask("create", topic=f"small-{writer.name}-{run}", partitions=1, configs={})

    def write(writer):
        writer.ask("produce", topic=f"large-{writer.name}-{run}", codec="none", acks="all", records=[record])
        try:
            writer.ask("produce", topic=f"small-{writer.name}-{run}", codec="none", acks="all", records=[record])
        except Refused:
            return
        raise AssertionError(f"{writer.name}: 10 MB were taken where 1 MB is allowed")

    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(write, clients))
    readers = [client for client in clients if client.can("consume")]
    for number, writer in enumerate(clients):
        reader = readers[number % len(readers)]
        seen = reader.ask("consume", topic=f"large-{writer.name}-{run}", count=1, seconds=30, **{"from": [[0, 0]]})["records"]
        assert len(seen) == 1 and seen[0]["value"] == value, f"{reader.name} did not read the large record of {writer.name}"
    print(f"    a record of {LARGE} bytes by {len(clients)} clients, refused where the topic does not allow it")


def check_search(clients, run):
    """Offsets by time."""
    base = int(time.time()) * 1000 - DAY
    topic, writer = f"search-{run}", next(client for client in clients if client.can("create") and client.can("timestamps"))
    writer.ask("create", topic=topic, partitions=1, configs={})
    records = [
        {"partition": 0, "key": None, "value": str(number), "headers": [], "timestamp": base + number * 1000} for number in range(50)
    ]
    writer.ask("produce", topic=topic, codec="lz4", acks="all", records=records)
    searchers = [client for client in clients if client.can("search")]
    for client in searchers:
        for delta, offset in [(-1, 0), (0, 0), (1, 1), (20_000, 20), (20_500, 21), (49_000, 49)]:
            found = client.ask("search", topic=topic, partition=0, timestamp=base + delta)["offset"]
            assert found == offset, f"{client.name}: {base + delta} is at {found}, not {offset}"
    print(f"    offsets by time, {len(searchers)} clients")


def check_tail(clients, run):
    """A reader at the end gets a record as soon as it is there."""
    writer = next(client for client in clients if client.can("create"))
    readers = [client for client in clients if client.can("consume") and client is not writer]
    slowest = 0
    for reader in readers:
        topic = f"tail-{reader.name}-{run}"
        record = {"partition": 0, "key": None, "value": "before", "headers": [], "timestamp": None}
        writer.ask("create", topic=topic, partitions=1, configs={})
        writer.ask("produce", topic=topic, codec="none", acks="all", records=[record])
        reader.tell("consume", topic=topic, count=1, seconds=20 + 3 * len(readers), **{"from": [[0, 1]]})
    # All of them wait by now.
    time.sleep(3)
    for number, reader in enumerate(readers):
        record = {"partition": 0, "key": None, "value": f"tail {number}", "headers": [], "timestamp": None}
        writer.ask("produce", topic=f"tail-{reader.name}-{run}", codec="none", acks="all", records=[record])
        began = time.monotonic()
        seen = reader.answer()["records"]
        slowest = max(slowest, time.monotonic() - began)
        assert [record["value"] for record in seen] == [f"tail {number}"], f"{reader.name}: {seen}"
    assert slowest < 3, f"a record at the end came after {slowest:.1f} s"
    print(f"    long poll at the end, {len(readers)} clients; the record was there and its client closed after {slowest:.2f} s at most")


def check_recreation(client, makers, address, run):
    """A topic goes and comes again while a client writes to it and another one reads; afterwards both work."""
    topic = f"again-{client.name}-{run}"
    maker = Driver(makers(client).name, address).learn()
    reader_name = client.name if client.can("consume") else "confluent"
    reader = Driver(reader_name, address).learn()
    maker.ask("create", topic=topic, partitions=1, configs={})
    stop, failed, done = threading.Event(), [], []

    def send(text):
        record = {"partition": 0, "key": None, "value": text, "headers": [], "timestamp": None}
        client.ask("produce", topic=topic, codec="none", acks="all", records=[record])

    def write():
        while not stop.is_set():
            try:
                send("meanwhile")
                done.append(1)
            except Refused as error:
                failed.append(str(error))

    writing = threading.Thread(target=write)
    writing.start()
    try:
        reader.tell("consume", topic=topic, count=10**9, seconds=3, **{"from": [[0, 0]]})
        for _ in range(2):
            time.sleep(0.7)
            maker.ask("delete", topic=topic)
            maker.ask("create", topic=topic, partitions=1, configs={})
        time.sleep(0.5)
    finally:
        stop.set()
        writing.join()
    with contextlib.suppress(Refused):  # What a reader of a topic that goes away says is its own affair.
        reader.answer()
    assert done, f"{client.name}: nothing was written: {failed[-1]}"
    maker.ask("delete", topic=topic)
    maker.ask("create", topic=topic, partitions=1, configs={})
    for number in range(3):
        send(f"afterwards {number}")
    seen = [record["value"] for record in reader.ask("consume", topic=topic, count=3, seconds=20, **{"from": [[0, 0]]})["records"]]
    assert seen == [f"afterwards {number}" for number in range(3)], f"{reader_name} of {client.name}: {seen}"
    maker.end()
    reader.end()
    return len(done)


def check_connections(address, run, count=1000):
    """A thousand clients at once, each with a record."""
    driver = Driver("aiokafka", address).learn()
    topic = f"many-{run}"
    driver.ask("create", topic=topic, partitions=1, configs={})
    port, most = int(address.rpartition(":")[2]), 0
    driver.tell("connect", topic=topic, count=count)
    reply = concurrent.futures.ThreadPoolExecutor(1).submit(driver.answer, 180)
    while not reply.done():
        most = max(most, established(port))
        time.sleep(0.05)
    reply.result()
    seen = driver.ask("consume", topic=topic, count=count, seconds=30, **{"from": [[0, 0]]})["records"]
    assert sorted(int(record["value"]) for record in seen) == list(range(count)), f"{len(seen)} of {count} records"
    assert most >= count, f"only {most} connections stood at once"
    driver.end()
    print(f"    {count} clients of aiokafka at once, {most} connections, each with its record")


def established(port):
    wanted = f":{port:04X}"
    lines = [line.split() for line in open("/proc/net/tcp", encoding="ascii")]
    return sum(fields[1].endswith(wanted) and fields[3] == "01" for fields in lines[1:])


def check_restart(broker, clients):
    """What clients wrote is there after a graceful stop; they go on without being told."""
    writer = clients[0]
    writer.ask("create", topic="restart", partitions=1, configs={})
    records = [{"partition": 0, "key": None, "value": str(number), "headers": [], "timestamp": None} for number in range(1000)]
    writer.ask("produce", topic="restart", codec="none", acks="all", records=records)
    seconds = broker.stop()
    broker.start()
    for client in [client for client in clients if client.can("consume")]:
        seen = client.ask("consume", topic="restart", count=1000, seconds=20, **{"from": [[0, 0]]})["records"]
        assert [record["value"] for record in seen] == [record["value"] for record in records], f"{client.name}: {len(seen)} of 1000"
    print(f"    graceful stop in {seconds:.2f} s, everything there afterwards")


def check(address, names, broker=None):
    run = uuid.uuid4().hex[:8]
    clients = [Driver(name, address) for name in names]
    for client in clients:
        client.learn()

    def makers(client, *needs):
        """The client itself, where it can make topics; else another one."""
        able = [each for each in (client, *clients) if each.can("create") and all(each.can(need) for need in needs)]
        return able[0]

    def timed(check_, *arguments):
        began = time.monotonic()
        check_(*arguments)
        print(f"        ({check_.__name__.removeprefix('check_')}: {time.monotonic() - began:.0f} s)")

    timed(check_round_trips, clients, makers, run)
    timed(check_search, clients, run)
    timed(check_tail, clients, run)
    timed(check_large, clients, makers, run)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda client: check_recreation(client, makers, address, run), clients))
    print(f"    deleted and made again while in use, {len(done)} clients")
    if "aiokafka" in names:
        timed(check_connections, address, run)
    if broker:
        timed(check_restart, broker, clients)
    for client in clients:
        print(f"    ran: {client.about['name']} {client.about['version']}; codecs {', '.join(client.about['codecs'])}; "
              f"without {', '.join(client.about['cannot']) or 'exceptions'}")
        client.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", help="an address; without it a Millstream is started")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--clients", default=",".join(COMMANDS))
    args = parser.parse_args()
    names = args.clients.split(",")
    if args.broker:
        check(args.broker, names)
        return
    with Broker("clients", args.shards, settings=["auto.create.topics.enable=false", "group.initial.rebalance.delay.ms=0"]) as broker:
        check(broker.address, names, broker)


if __name__ == "__main__":
    sys.exit(main())
