"""A member of a group by one of the Python clients: prints partition, offset and value of each record until it is ended.

    group_member.py CLIENT BROKER TOPIC GROUP
"""

import asyncio
import signal
import sys

CLIENT, BROKER, TOPIC, GROUP = sys.argv[1:]
CLIENT_ID = f"interop-{CLIENT}"
COMMIT_MS = 500


class Ended(Exception):
    """SIGINT."""


def end(*_):
    raise Ended


def told(partition, offset, value):
    print(partition, offset, value.decode(), flush=True)


def confluent():
    from confluent_kafka import Consumer

    consumer = Consumer({
        "bootstrap.servers": BROKER, "group.id": GROUP, "auto.offset.reset": "earliest", "partition.assignment.strategy": "range",
        "auto.commit.interval.ms": COMMIT_MS, "log_level": 2, "client.id": CLIENT_ID,
    })
    consumer.subscribe([TOPIC])
    try:
        while True:
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                told(message.partition(), message.offset(), message.value())
    except Ended:
        consumer.close()


def kafka_python():
    from kafka import KafkaConsumer
    from kafka.coordinator.assignors.range import RangePartitionAssignor

    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=BROKER, group_id=GROUP, auto_offset_reset="earliest", auto_commit_interval_ms=COMMIT_MS,
        client_id=CLIENT_ID, partition_assignment_strategy=[RangePartitionAssignor],
    )
    try:
        while True:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    told(record.partition, record.offset, record.value)
    except Ended:
        consumer.close()


async def aiokafka():
    from aiokafka import AIOKafkaConsumer
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor

    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=BROKER, group_id=GROUP, auto_offset_reset="earliest", auto_commit_interval_ms=COMMIT_MS,
        client_id=CLIENT_ID, partition_assignment_strategy=(RangePartitionAssignor,),
    )
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, over.set)
    await consumer.start()
    while not over.is_set():
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                told(record.partition, record.offset, record.value)
    await consumer.stop()


signal.signal(signal.SIGINT, end)
if CLIENT == "aiokafka":
    asyncio.run(aiokafka())
else:
    {"confluent": confluent, "kafka-python": kafka_python}[CLIENT]()
