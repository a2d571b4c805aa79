/**
 * What still comes after Ctrl-C under a program that prints without end (`yes`), at a viewer that reads and acknowledges
 * as the page does: how long, and how many bytes. Needs `npm start`, whose address and key it takes from the environment:
 * `API_KEY=$(cat …/api-key) node bench/interrupt.mjs [runs] [address]`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ACK_EVERY_BYTES,
  ClientType,
  decodeServerMessage,
  encodeBytes,
  encodeClientHello,
  encodeJson,
  V1_PROTOCOL,
} from '@cliscale/contract/terminal'
import WebSocket from 'ws'

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
  const viewer = await attach(await created())
  await sleep(FLOOD_MS)
  const before = viewer.received / (FLOOD_MS / 1000)
  const [at, from] = [performance.now(), viewer.received]
  viewer.socket.send(encodeBytes(ClientType.input, CTRL_C))
  await Promise.race([viewer.ended, sleep(30_000)])
  viewer.socket.close()
  return { before, ms: viewer.lastAt - at, bytes: viewer.received - from }
}

async function created() {
  const authorization = `Bearer ${process.env['API_KEY'] ?? ''}`
  const session = await post('/api/sessions', { command: 'yes 012345678901234567890123456789' }, { authorization })
  return session.json()
}

async function attach({ sessionId, terminalUrl }) {
  const token = new URL(terminalUrl).searchParams.get('token')
  const redeemed = await post(`/ws/${sessionId}/redeem`, { token }, { origin: base })
  const cookie = redeemed.headers.get('set-cookie').split(';')[0]
  const { viewer: name } = await redeemed.json()
  const headers = { cookie, origin: base }
  const url = `${base.replace('http', 'ws')}/ws/${sessionId}?viewer=${name}`
  const socket = new WebSocket(url, [V1_PROTOCOL], { perMessageDeflate: false, headers })
  const viewer = { socket, received: 0, lastAt: 0 }
  viewer.ended = new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send(encodeClientHello({ columns: 120, rows: 40 })))
    let [position, acknowledged] = [0, 0]
    socket.on('message', (message) => {
      const { type, bytes, hello, seq } = decodeServerMessage(message)
      if (type === 'exit') return resolve()
      if (type === 'hello') return (position = acknowledged = hello.seq)
      if (type === 'snapshot') position = acknowledged = seq
      else if (type === 'data') position += bytes.length
      else return undefined
      viewer.received += message.length
      viewer.lastAt = performance.now()
      if (position - acknowledged >= ACK_EVERY_BYTES)
        socket.send(encodeJson(ClientType.ack, { seq: (acknowledged = position) }))
    })
  })
  return viewer
}

async function post(path, body, headers) {
  const request = {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  }
  const response = await fetch(base + path, request)
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return response
}
