/**
 * What the session's terminal costs: memory, throughput with and without viewers, and how long a restart takes.
 * Needs a build (`npm run build`). Each row runs in a process of its own: `node bench/terminal.mjs [MiB of output]`.
 */
import { fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const MIB = 1024 * 1024
const V1 = 'cliscale.v1'
const self = fileURLToPath(import.meta.url)
const [role, argument] = process.argv.slice(2)

if (role === 'row') await runRow(JSON.parse(argument))
else if (role === 'viewer') await runViewer(JSON.parse(argument))
else await printTable(Number(role ?? 200))

async function printTable(mebibytes) {
  const rows = [
    { name: 'idle, nothing printed', mebibytes: 0, viewers: [] },
    { name: 'idle, 5,000 lines on the screen', mebibytes: 1, viewers: [] },
    { name: 'flood, no viewer', mebibytes, viewers: [] },
    { name: 'flood, 1 viewer', mebibytes, viewers: [{}] },
    { name: 'flood, 1 viewer and 1 that stops reading', mebibytes, viewers: [{}, { stalls: true }] },
    { name: 'flood, 4 viewers', mebibytes, viewers: [{}, {}, {}, {}] },
    { name: 'flood past the screen (journal and ring only)', mebibytes, viewers: [], skipReady: true },
    { name: 'restart on a full journal of 1 GiB', mebibytes: 1023, viewers: [], skipReady: true, restart: true },
  ]
  const columns = ['MB/s', 'MB/CPU s', 'RSS MiB', 'peak RSS MiB', 'snapshots', 'restart ms']
  console.log(`Node ${process.version}, ${os.cpus().length} cores, ${mebibytes} MiB of output\n`)
  console.log(`${'case'.padEnd(48)}${columns.map((c) => c.padStart(14)).join('')}`)
  for (const row of rows) {
    const result = await once(fork(self, ['row', JSON.stringify(row)], { execArgv: ['--expose-gc'] }))
    console.log(`${row.name.padEnd(48)}${columns.map((c) => String(result[c] ?? '-').padStart(14)).join('')}`)
  }
}

function once(child) {
  return new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code) => reject(new Error(`a row ended with ${code} and no result`)))
  })
}

async function runRow(row) {
  const { openSessionTerminal } = await import('../runner/dist/host/terminal/session-terminal.js')
  const { Typing } = await import('../runner/dist/host/typing.js')
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-bench-'))
  const open = () =>
    openSessionTerminal({
      spoolDir: dir,
      spoolMaxBytes: 1024 ** 3,
      listen: { host: '127.0.0.1', port: 0 },
      verify: async () => ({ sid: 'bench', mode: 'rw', viewer: 'bench' }),
      typing: new Typing({ isFirstLife: true }),
      onAnswer: () => {},
      onResize: () => {},
    })
  let terminal = await open()
  terminal.setEpoch('bench')
  const viewers = row.viewers.map((viewer) =>
    fork(self, ['viewer', JSON.stringify({ ...viewer, port: terminal.port })]),
  )
  await Promise.all(viewers.map(once))
  let peak = 0
  const sampler = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 50)
  const start = performance.now()
  const cpu = process.cpuUsage()
  await flood(terminal, row)
  const result = row.mebibytes > 1 ? rates(row.mebibytes, performance.now() - start, process.cpuUsage(cpu)) : {}
  if (row.restart) {
    await terminal[Symbol.asyncDispose]()
    const before = performance.now()
    terminal = await open()
    result['restart ms'] = Math.round(performance.now() - before)
  } else await terminal.ready()
  const seen = viewers.map(once)
  for (const viewer of viewers) viewer.send({ head: terminal.head })
  const snapshots = (await Promise.all(seen)).map((s) => s.snapshots)
  if (snapshots.length > 0) result.snapshots = snapshots.join('+')
  clearInterval(sampler)
  globalThis.gc()
  await new Promise((resolve) => setTimeout(resolve, 300))
  result['RSS MiB'] = Math.round(process.memoryUsage.rss() / MIB)
  result['peak RSS MiB'] = Math.round(peak / MIB)
  for (const viewer of viewers) viewer.kill()
  await terminal[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
  process.send(result)
}

/** By the clock, and by this process's CPU time, which a busy machine does not blur. */
function rates(mebibytes, ms, { user, system }) {
  const bytes = mebibytes * MIB
  return { 'MB/s': (bytes / 1000 / ms).toFixed(1), 'MB/CPU s': (bytes / (user + system)).toFixed(1) }
}

/** As work's socket would: pieces of 64 KiB, each in a turn of its own. */
async function flood(terminal, row) {
  let text = ''
  for (let line = 0; text.length < 64 * 1024; line++)
    text += `\x1b[${31 + (line % 6)}mline ${line}\x1b[0m ${'.'.repeat(line % 80)}\r\n`
  const piece = Buffer.from(text.slice(0, 64 * 1024))
  for (let sent = 0; sent < row.mebibytes * MIB; sent += piece.length) {
    terminal.appendWork(terminal.workOffset, piece)
    if (!row.skipReady) await terminal.ready()
    if (!row.skipReady || sent % (32 * MIB) === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

async function runViewer({ port, stalls }) {
  const { WebSocket } = await import('ws')
  const { decodeServerMessage, encodeJson } = await import('@cliscale/contract')
  const ws = new WebSocket(`ws://127.0.0.1:${port}/ws`, [V1], { headers: { Authorization: 'Bearer x' } })
  let position = 0
  let acked = 0
  let snapshots = 0
  let head = Infinity
  let reported = false
  const report = () => {
    if (reported || (position < head && !(stalls && head < Infinity))) return
    reported = true
    process.send({ snapshots })
  }
  ws.on('open', () => ws.send('{}'))
  ws.on('message', (data) => {
    const message = decodeServerMessage(data)
    if (message.type === 'hello') {
      process.send({})
      if (stalls) ws.pause()
    }
    if (message.type === 'snapshot') {
      snapshots++
      acked = position = message.seq
    }
    if (message.type === 'data') position += message.bytes.length
    if (position - acked >= 64 * 1024 || position >= head) ws.send(encodeJson(0x34, { seq: (acked = position) }))
    report()
  })
  ws.on('close', () => process.disconnect())
  process.on('message', (message) => {
    head = message.head
    report()
  })
}
