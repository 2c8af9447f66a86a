// The loop that every driver in Node runs (see ../drivers/README.md).

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const broker = process.argv[2]

export function versionOf (name) {
  const path = fileURLToPath(new URL(`./node_modules/${name}/package.json`, import.meta.url))
  return JSON.parse(readFileSync(path)).version
}

const text = data => data === null || data === undefined ? null : data.toString()

// The first `count` records that `start` gives to its first argument, or those that came in time; an error that it gives to the second
// one ends it.
export async function gather (count, seconds, start) {
  const records = []
  let timer
  await new Promise((resolve, reject) => {
    timer = setTimeout(resolve, seconds * 1000)
    const take = record => {
      const headers = record.headers.map(([name, value]) => [text(name), text(value)])
      if (records.length < count) records.push({ ...record, key: text(record.key), value: text(record.value), headers })
      if (records.length === count) resolve()
    }
    start(take, reject).catch(reject)
  }).finally(() => clearTimeout(timer))
  return { records }
}

export async function run (about, commands) {
  console.log(JSON.stringify(about))
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    let answer
    try {
      answer = (await commands[command.do](command)) ?? {}
    } catch (error) {
      const causes = (error.errors ?? [error.cause]).filter(Boolean).map(String)
      answer = { error: [String(error), ...causes].join('; ').slice(0, 600) }
    }
    console.log(JSON.stringify(answer))
  }
  process.exit(0)
}
