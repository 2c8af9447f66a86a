// @platformatic/kafka; its consumer wants groups.

import { Admin, Producer, stringSerializers } from '@platformatic/kafka'
import zlib from 'node:zlib'
import { broker, run, versionOf } from './common.mjs'

const base = { clientId: 'interop', bootstrapBrokers: [broker], requestTimeout: 20000, retries: 5, retryDelay: 200 }
const codecs = ['none', 'gzip', 'snappy', 'lz4', ...(zlib.zstdCompressSync ? ['zstd'] : [])]

// The client wants Node 22; this is all that 20 does not have of what is used here, but for zstd.
Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

async function using (made, act) {
  try {
    return await act(made)
  } finally {
    await made.close()
  }
}

await run({ name: '@platformatic/kafka', version: versionOf('@platformatic/kafka'), codecs, cannot: ['consume', 'search'] }, {
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
  })
})
