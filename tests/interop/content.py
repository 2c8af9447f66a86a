"""What the clients send: the same content by every client, so that every other one can check it."""

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = ["0", "1", "all"]
PER_COMBINATION = 40


def value_of(key):
    """The value that belongs to a key: its length depends on the key, so a mix-up shows."""
    number = int(key.rsplit("/", 1)[1])
    return key + "|" + "x" * (number * 97 % 1500)


def keys(client, codec, acks):
    return [f"{client}/{codec}/{acks}/{number}" for number in range(PER_COMBINATION)]


def all_keys(client, codecs=CODECS, acks=ACKS):
    return [key for codec in codecs for ack in acks for key in keys(client, codec, ack)]


def check(reader, writer, seen, expected):
    """`seen`: (partition, offset, key, value) in the order in which they came."""
    per_partition = {}
    for partition, offset, key, value in seen:
        assert value == value_of(key), f"{reader} read a wrong value for {key}: {value[:60]}"
        before = per_partition.setdefault(partition, [])
        assert not before or before[-1][0] < offset, f"{reader}: offset {offset} of {partition} is out of order"
        before.append((offset, key))
    found = sorted(key for _, _, key, _ in seen)
    missing = sorted(set(expected) - set(found))
    assert found == sorted(expected), (
        f"{reader} read {len(found)} records of {len(expected)} that {writer} sent; missing: {missing[:5]}"
    )
    for partition, records in per_partition.items():
        order = {}
        for _, key in records:
            series, number = key.rsplit("/", 1)
            assert order.get(series, -1) < int(number), f"{reader}: {key} of {partition} is out of order"
            order[series] = int(number)
