/**
 * What still comes after Ctrl-C under a program that prints without end (`yes`), at a viewer that reads and acknowledges
 * as the page does: how long, and how many bytes. Needs `npm start`, whose address and key it takes from the environment:
 * `API_KEY=$(cat …/api-key) node bench/interrupt.mjs [runs] [address]`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { watch } from './viewer.mjs'

const [runs = '10', base = 'http://127.0.0.1:7080'] = process.argv.slice(2)
const FLOOD_MS = 3_000
const CTRL_C = Buffer.from('\x03')

console.log(`${'run'.padEnd(6)}${['MB/s before', 'ms after', 'KB after'].map((name) => name.padStart(14)).join('')}`)
for (let run = 1; run <= Number(runs); run++) {
  const { before, ms, bytes } = await interrupt()
  const row = [(before / 1e6).toFixed(1), ms.toFixed(0), (bytes / 1024).toFixed(0)]
  console.log(`${String(run).padEnd(6)}${row.map((value) => value.padStart(14)).join('')}`)
}

async function interrupt() {
  const viewer = await watch(base, 'yes 012345678901234567890123456789')
  await sleep(FLOOD_MS)
  const before = viewer.received / (FLOOD_MS / 1000)
  const [at, from] = [performance.now(), viewer.received]
  viewer.connection.type(CTRL_C)
  await Promise.race([viewer.ended, sleep(30_000)])
  viewer.connection.close()
  return { before, ms: viewer.lastAt - at, bytes: viewer.received - from }
}
