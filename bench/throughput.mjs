/**
 * How fast a program that prints without end gets rid of its output while one viewer reads it, against the same program in
 * a terminal that is only read: a run measures one after the other, so that a machine that is busy is so for both. Needs a
 * build, and `npm start`, whose address and key it takes from the environment:
 * `API_KEY=$(cat …/api-key) node bench/throughput.mjs [runs] [address]`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pty } from '../runner/dist/worker/pty.js'
import { watch } from './viewer.mjs'

const [runs = '5', base = 'http://127.0.0.1:7080'] = process.argv.slice(2)
const COMMAND = 'yes 012345678901234567890123456789'
const SIZE = { columns: 120, rows: 40 }
const WARM_MS = 1_000
const MEASURED_MS = 4_000

console.log(`${'run'.padEnd(6)}${['plain MB/s', 'session MB/s', 'ratio'].map((name) => name.padStart(14)).join('')}`)
const ratios = []
for (let run = 1; run <= Number(runs); run++) {
  const plain = await plainly()
  const session = await watched()
  ratios.push(session / plain)
  const row = [(plain / 1e6).toFixed(1), (session / 1e6).toFixed(1), (session / plain).toFixed(2)]
  console.log(`${String(run).padEnd(6)}${row.map((value) => value.padStart(14)).join('')}`)
}
console.log(`median ratio ${ratios.sort((a, b) => a - b)[Math.floor(ratios.length / 2)].toFixed(2)}`)

/** Bytes a second of a terminal whose output is read and thrown away. */
async function plainly() {
  const program = { file: '/bin/bash', args: ['-c', COMMAND], env: { PATH: process.env['PATH'] }, cwd: '/' }
  const pty = new Pty(SIZE, program)
  let position = 0
  pty.reader.on('error', () => {})
  pty.reader.on('data', (bytes) => (position += bytes.length))
  const rate = await rateOf(() => position)
  process.kill(pty.leader.pid, 'SIGKILL')
  await pty.exit
  pty[Symbol.dispose]()
  return rate
}

/** Bytes a second of a session, as far as its viewer is. */
async function watched() {
  const viewer = await watch(base, COMMAND)
  const rate = await rateOf(() => viewer.connection.offset)
  viewer.connection.type(Buffer.from('\x03'))
  await Promise.race([viewer.ended, sleep(30_000)])
  viewer.connection.close()
  return rate
}

async function rateOf(position) {
  await sleep(WARM_MS)
  const [at, from] = [performance.now(), position()]
  await sleep(MEASURED_MS)
  return ((position() - from) / (performance.now() - at)) * 1000
}
