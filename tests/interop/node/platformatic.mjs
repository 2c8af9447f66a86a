// @platformatic/kafka; its consumer is always in a group, which is a new one for each reading.

import { decompress } from 'fzstd'
import { randomUUID } from 'node:crypto'
import zlib from 'node:zlib'
import { broker, gather, run, versionOf } from './common.mjs'

const base = { clientId: 'interop', bootstrapBrokers: [broker], requestTimeout: 20000, retries: 5, retryDelay: 200 }
const codecs = ['none', 'gzip', 'snappy', 'lz4', ...(zlib.zstdCompressSync ? ['zstd'] : [])]

// The client wants Node 22; this is all that 20 does not have of what is used here. Of zstd it gets what reads.
Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

if (!zlib.zstdCompressSync) {
  zlib.zstdCompressSync = () => { throw new Error('this Node writes no zstd') }
  zlib.zstdDecompressSync = data => Buffer.from(decompress(data))
}
const { Admin, Consumer, Producer, stringSerializers } = await import('@platformatic/kafka')

async function using (made, act) {
  try {
    return await act(made)
  } finally {
    await made.close()
  }
}

const reader = () => new Consumer({ ...base, groupId: randomUUID() })

await run({ name: '@platformatic/kafka', version: versionOf('@platformatic/kafka'), codecs, cannot: [] }, {
  create: ({ topic, partitions, configs }) => using(new Admin(base), async admin => {
    const list = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [topic], partitions, replicas: 1, configs: list })
  }),
  delete: ({ topic }) => using(new Admin(base), async admin => { await admin.deleteTopics({ topics: [topic] }) }),
  produce: ({ topic, codec, acks, records }) => using(new Producer({ ...base, serializers: stringSerializers }), async producer => {
    const messages = records.map(({ partition, key, value, headers, timestamp }) => ({
      topic, partition, key: key ?? undefined, value: value ?? undefined, headers: Object.fromEntries(headers),
      timestamp: timestamp === null ? undefined : BigInt(timestamp)
    }))
    await producer.send({ messages, acks: { 0: 0, 1: 1, all: -1 }[acks], compression: codec, idempotent: acks === 'all', autocreateTopics: false })
  }),
  search: ({ topic, partition, timestamp }) => using(reader(), async consumer => {
    const found = await consumer.listOffsetsWithTimestamps({ topics: [topic], partitions: { [topic]: [partition] }, timestamp: BigInt(timestamp) })
    return { offset: Number(found.get(topic).get(partition).offset) }
  }),
  consume: ({ topic, from, count, seconds }) => using(reader(), async consumer => {
    const offsets = from.map(([partition, offset]) => ({ topic, partition, offset: BigInt(offset) }))
    const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets, autocommit: false, maxWaitTime: 200 })
    try {
      return await gather(count, seconds, async (take, fail) => {
        stream.on('error', fail)
        stream.on('data', ({ partition, offset, timestamp, key, value, headers }) => take({
          partition, offset: Number(offset), timestamp: Number(timestamp), key, value, headers: [...headers]
        }))
      })
    } finally {
      await stream.close()
    }
  })
})
