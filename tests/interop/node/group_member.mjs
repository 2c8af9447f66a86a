// A member of a group by one of the clients of Node: prints partition, offset and value of each record until it is ended.
//
//     group_member.mjs CLIENT BROKER TOPIC GROUP

const [client, broker, topic, group] = process.argv.slice(2)
const clientId = `interop-${client}`
const COMMIT_MS = 500

function told (partition, offset, value) {
  process.stdout.write(`${partition} ${offset} ${value}\n`)
}

// Neighbouring partitions, under the name that other clients call it by: kafkajs brings none that they have.
function range (AssignerProtocol) {
  return ({ cluster }) => ({
    name: 'range',
    version: 1,
    async assign ({ members, topics }) {
      const ids = members.map(({ memberId }) => memberId).sort()
      const shares = Object.fromEntries(ids.map(id => [id, {}]))
      for (const each of topics) {
        const partitions = cluster.findTopicPartitionMetadata(each).map(({ partitionId }) => partitionId).sort((a, b) => a - b)
        ids.forEach((id, at) => {
          const from = at * Math.floor(partitions.length / ids.length) + Math.min(at, partitions.length % ids.length)
          const count = Math.floor(partitions.length / ids.length) + (at < partitions.length % ids.length ? 1 : 0)
          shares[id][each] = partitions.slice(from, from + count)
        })
      }
      return ids.map(memberId => ({
        memberId, memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment: shares[memberId], userData: Buffer.alloc(0) })
      }))
    },
    protocol ({ topics }) {
      return { name: 'range', metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }) }
    }
  })
}

async function kafkajs () {
  const { AssignerProtocol, Kafka, logLevel } = (await import('kafkajs')).default
  const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, clientId })
  const consumer = kafka.consumer({ groupId: group, partitionAssigners: [range(AssignerProtocol)], heartbeatInterval: 1000, maxWaitTimeInMs: 500 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitInterval: COMMIT_MS,
    eachMessage: async ({ partition, message }) => told(partition, message.offset, message.value)
  })
  return () => consumer.disconnect()
}

async function platformatic () {
  Promise.withResolvers ??= function () {
    const made = {}
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
    return made
  }
  const { Consumer, stringDeserializers } = await import('@platformatic/kafka')
  const consumer = new Consumer({
    groupId: group, clientId, bootstrapBrokers: [broker], deserializers: stringDeserializers,
    protocols: [{ name: 'range', version: 1 }], heartbeatInterval: 1000, sessionTimeout: 10000, rebalanceTimeout: 20000, maxWaitTime: 500
  })
  const stream = await consumer.consume({ topics: [topic], autocommit: COMMIT_MS, mode: 'committed', fallbackMode: 'earliest' })
  stream.on('data', ({ partition, offset, value }) => told(partition, offset, value))
  return async () => {
    await stream.close()
    await consumer.close()
  }
}

const close = await { kafkajs, platformatic }[client]()
process.on('SIGINT', async () => {
  await close()
  process.exit(0)
})
