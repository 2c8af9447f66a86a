// kafkajs; its consumer is always in a group, which is a new one for each reading.

import lz4 from '@2l/kafkajs-lz4'
import { decompress } from 'fzstd'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { randomUUID } from 'node:crypto'
import { broker, gather, run, versionOf } from './common.mjs'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = new (lz4.default ?? lz4)().codec
// A codec that reads only.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({ decompress: async data => Buffer.from(decompress(data)) })
const TYPES = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4 }
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, clientId: 'interop' })

async function administer (act) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await act(admin)
  } finally {
    await admin.disconnect()
  }
}

await run({ name: 'kafkajs', version: versionOf('kafkajs'), codecs: Object.keys(TYPES), cannot: [] }, {
  create: ({ topic, partitions, configs }) => administer(async admin => {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }], waitForLeaders: true })
  }),
  delete: ({ topic }) => administer(async admin => { await admin.deleteTopics({ topics: [topic] }) }),
  search: ({ topic, partition, timestamp }) => administer(async admin => {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    return { offset: Number(found.find(each => each.partition === partition).offset) }
  }),
  produce: async ({ topic, codec, acks, records }) => {
    const producer = kafka.producer({ idempotent: acks === 'all', maxInFlightRequests: 1, allowAutoTopicCreation: false })
    await producer.connect()
    try {
      const messages = records.map(({ partition, key, value, headers, timestamp }) => ({
        partition, key, value, headers: Object.fromEntries(headers), timestamp: timestamp === null ? undefined : String(timestamp)
      }))
      await producer.send({ topic, messages, acks: { 0: 0, 1: 1, all: -1 }[acks], compression: TYPES[codec] })
    } finally {
      await producer.disconnect()
    }
  },
  consume: async ({ topic, from, count, seconds }) => {
    const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 200, maxBytesPerPartition: 20000000, allowAutoTopicCreation: false })
    await consumer.connect()
    try {
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      return await gather(count, seconds, async (take, fail) => {
        consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error))
        await consumer.run({
          autoCommit: false,
          eachMessage: async ({ partition, message }) => take({
            partition,
            offset: Number(message.offset),
            timestamp: Number(message.timestamp),
            key: message.key,
            value: message.value,
            headers: Object.entries(message.headers)
          })
        })
        from.forEach(([partition, offset]) => consumer.seek({ topic, partition, offset: String(offset) }))
      })
    } finally {
      await consumer.disconnect()
    }
  }
})
