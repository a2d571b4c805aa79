/**
 * What the session's terminal costs: memory, throughput with and without viewers, and how long a restart takes.
 * Needs a build (`npm run build`). Each row runs in a process of its own: `node bench/terminal.mjs [MiB of output]`.
 * `node bench/terminal.mjs hostile` prints what output costs that was made to cost much, against plain text.
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

if (role === 'hostile') await printHostile()
else if (role === 'hostile-row') await runHostile(argument)
else if (role === 'row') await runRow(JSON.parse(argument))
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

/** Texts that are repeated up to a length in MiB, one after the other. */
function hostileInputs() {
  const colours = Array.from({ length: 100 }, (_, i) => `\x1b[38;2;${i};${255 - i};7m#`).join('')
  const title = [['\x1b]0;'], ['t', 9.4], ['\x07\x1b[22t']]
  return {
    'plain text': [['The quick brown fox jumps over the lazy dog, and goes on to the next line 12\r\n', 8]],
    'hi, CSI 2147483647 S': [['hi \x1b[2147483647S']],
    'home, CSI 999 L': [['\x1b[H\x1b[999L', 1]],
    'CSI 40 S': [['\x1b[40S', 1]],
    RIS: [['\x1bc', 1]],
    DECALN: [['\x1b#8', 1]],
    'ED 2': [['\x1b[2J', 1]],
    'alternate screen on and off': [['\x1b[?1049h\x1b[?1049l', 1]],
    'x, REP 2147483647': [['x\x1b[2147483647b', 1]],
    'joined accents': [['\u0301', 1]],
    'queries (CSI c)': [['\x1b[c', 1]],
    'unended SOS with lines': [['\x1bX'], ['123456\r\n', 4.5]],
    'unended DCS': [['\x1bPq'], ['123456', 4.5]],
    'one title of 9.9 MB': title,
    'ten titles of 9.9 MB, each pushed': Array.from({ length: 10 }, () => title).flat(),
    '150,000 links': [['\x1b]8;;http://example.com/\x1b\\x\x1b]8;;\x1b\\', 5]],
    '22 MB of true colour': [[`${colours}\r\n`, 22]],
    '22 MB of true colour, 31 viewers that never read': [[`${colours}\r\n`, 22]],
  }
}

function* pieces(parts) {
  for (const [text, mebibytes] of parts) {
    const bytes = Buffer.byteLength(text)
    const piece = Buffer.from(text.repeat(Math.max(1, Math.floor((64 * 1024) / bytes))))
    if (mebibytes === undefined) yield Buffer.from(text)
    else for (let left = mebibytes * MIB; left > 0; left -= piece.length) yield piece
  }
}

async function printHostile() {
  const columns = [
    'MiB',
    'journal ms/MiB',
    'x plain',
    'longest stall ms',
    'peak RSS MiB',
    'first bytes ms',
    'at head ms',
  ]
  console.log(`Node ${process.version}, ${os.cpus().length} cores, load ${os.loadavg()[0].toFixed(1)}\n`)
  console.log(`${''.padEnd(50)}${columns.map((c) => c.padStart(18)).join('')}`)
  let plain
  for (const name of Object.keys(hostileInputs())) {
    const result = await once(fork(self, ['hostile-row', name]))
    plain ??= result['journal ms/MiB']
    result['x plain'] = (result['journal ms/MiB'] / plain).toFixed(2)
    console.log(`${name.padEnd(50)}${columns.map((c) => String(result[c] ?? '-').padStart(18)).join('')}`)
  }
}

async function runHostile(name) {
  const { dir, open } = await prepare()
  const terminal = await open()
  terminal.setEpoch('bench')
  let peak = 0
  let stall = 0
  let last = performance.now()
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss())
    stall = Math.max(stall, performance.now() - last - 20)
    last = performance.now()
  }, 20)
  const start = performance.now()
  for (const piece of pieces(hostileInputs()[name])) {
    terminal.appendWork(terminal.workOffset, piece)
    await terminal.ready()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const tookMs = performance.now() - start
  const stalled = name.includes('never read') ? 31 : 0
  const join = (settings) => {
    const child = fork(self, ['viewer', JSON.stringify({ port: terminal.port, ...settings })])
    // Starting a process holds this one up, which is no fault of the terminal.
    last = performance.now()
    return once(child).then(() => child)
  }
  const idle = []
  for (let i = 0; i < stalled; i++) idle.push(await join({ stalls: true }))
  const viewer = await join({ head: terminal.head })
  const opened = performance.now()
  const { firstMs } = await once(viewer)
  const done = performance.now()
  await new Promise((resolve) => setTimeout(resolve, stalled > 0 ? 5_000 : 500))
  clearInterval(sampler)
  const { head } = terminal
  for (const each of [viewer, ...idle]) each.kill()
  await terminal[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
  process.send({
    MiB: (head / MIB).toFixed(1),
    'journal ms/MiB': (tookMs / Math.max(head / MIB, 0.1)).toFixed(1),
    'longest stall ms': Math.round(stall),
    'peak RSS MiB': Math.round(peak / MIB),
    'first bytes ms': Math.round(firstMs),
    'at head ms': Math.round(done - opened),
  })
}

/** A folder, and what opens a terminal in it. */
async function prepare() {
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
  return { dir, open }
}

function once(child) {
  return new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code) => reject(new Error(`a row ended with ${code} and no result`)))
  })
}

async function runRow(row) {
  const { dir, open } = await prepare()
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

async function runViewer({ port, stalls, head = Infinity }) {
  const { WebSocket } = await import('ws')
  const { Position } = await import('@cliscale/client')
  const { ClientType, decodeServerMessage, encodeJson } = await import('@cliscale/contract')
  const ws = new WebSocket(`ws://127.0.0.1:${port}/ws`, [V1], { headers: { Authorization: 'Bearer x' } })
  const position = new Position()
  let snapshots = 0
  let openedAt
  let firstMs
  let reported = false
  const report = () => {
    if (reported || (position.offset < head && !(stalls && head < Infinity))) return
    reported = true
    process.send({ snapshots, firstMs })
  }
  ws.on('open', () => ws.send('{}'))
  ws.on('message', (data) => {
    const message = decodeServerMessage(data)
    if (message.type === 'hello') {
      position.hello(message.hello)
      process.send({})
      openedAt = performance.now()
      if (stalls) ws.pause()
    }
    if (message.type === 'snapshot' || message.type === 'data') {
      firstMs ??= performance.now() - openedAt
      if (message.type === 'snapshot') snapshots++
      const { bytes, seq } = message
      const mark = seq === undefined ? position.received(bytes.length) : position.snapshot(seq)
      const isDue = position.parsed(mark) || position.offset >= head
      const ack = isDue ? position.takeAck() : undefined
      if (ack !== undefined) ws.send(encodeJson(ClientType.ack, { seq: ack }))
    }
    report()
  })
  ws.on('close', () => process.disconnect())
  process.on('message', (message) => {
    head = message.head
    report()
  })
}
