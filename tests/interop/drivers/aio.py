"""aiokafka."""

import asyncio
import sys

import aiokafka
import common
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BROKER = sys.argv[1]
LARGE = 20_000_000


async def administer(act):
    client = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await client.start()
    try:
        answer = await act(client)
    finally:
        await client.close()
    errors = [each for each in getattr(answer, "topic_errors", None) or answer.topic_error_codes if each[1]]
    assert not errors, str(errors)


async def create(topic, partitions, configs):
    await administer(lambda client: client.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)]))


async def delete(topic):
    await administer(lambda client: client.delete_topics([topic]))


def producer(codec, acks):
    return AIOKafkaProducer(
        bootstrap_servers=BROKER, compression_type=None if codec == "none" else codec, acks={"0": 0, "1": 1, "all": "all"}[acks],
        enable_idempotence=acks == "all", max_request_size=LARGE, request_timeout_ms=20_000,
    )


async def produce(topic, codec, acks, records):
    writer = producer(codec, acks)
    await writer.start()
    try:
        sent = [
            await writer.send(
                topic, key=raw(each["key"]), value=raw(each["value"]), partition=each["partition"], timestamp_ms=each["timestamp"],
                headers=[(name, raw(value)) for name, value in each["headers"]],
            )
            for each in records
        ]
        await asyncio.wait_for(asyncio.gather(*sent), 25)
    finally:
        await asyncio.wait_for(writer.stop(), 25)


def raw(text):
    return None if text is None else text.encode()


async def consumer(partitions):
    reader = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=None, max_partition_fetch_bytes=LARGE, fetch_max_bytes=LARGE, check_crcs=True)
    await reader.start()
    reader.assign(partitions)
    return reader


async def consume(topic, **wanted):
    reader = await consumer([TopicPartition(topic, partition) for partition, _ in wanted["from"]])
    for partition, offset in wanted["from"]:
        reader.seek(TopicPartition(topic, partition), offset)
    seen, deadline = [], asyncio.get_running_loop().time() + wanted["seconds"]
    while len(seen) < wanted["count"] and asyncio.get_running_loop().time() < deadline:
        for records in (await reader.getmany(timeout_ms=200)).values():
            seen += [
                {
                    "partition": record.partition, "offset": record.offset, "timestamp": record.timestamp, "key": text(record.key),
                    "value": text(record.value), "headers": [[name, text(value)] for name, value in record.headers],
                }
                for record in records
            ]
    await reader.stop()
    return {"records": seen}


def text(data):
    return None if data is None else bytes(data).decode()


async def search(topic, partition, timestamp):
    reader = await consumer([TopicPartition(topic, partition)])
    found = (await reader.offsets_for_times({TopicPartition(topic, partition): timestamp})).get(TopicPartition(topic, partition))
    await reader.stop()
    return {"offset": found.offset if found else -1}


async def connect(topic, count):
    """`count` producers at once, each with a record of its own."""
    writers = [producer("none", "all") for _ in range(count)]
    for at in range(0, count, 50):
        await asyncio.gather(*[writer.start() for writer in writers[at : at + 50]])
    for number, writer in enumerate(writers):
        await writer.send_and_wait(topic, value=b"%d" % number, partition=0)
    await asyncio.gather(*[writer.stop() for writer in writers])


def blocking(act):
    return lambda **fields: asyncio.run(act(**fields))


common.run(
    {"name": "aiokafka", "version": aiokafka.__version__, "codecs": ["none", "gzip", "snappy", "lz4", "zstd"], "cannot": []},
    {act.__name__: blocking(act) for act in (create, delete, produce, consume, search, connect)},
)
