/** A session of a system that runs, and a viewer that reads and acknowledges as the page does. */
import {
  ACK_EVERY_BYTES,
  ClientType,
  decodeServerMessage,
  encodeClientHello,
  encodeJson,
  V1_PROTOCOL,
} from '@cliscale/contract/terminal'
import WebSocket from 'ws'

/**
 * Starts `command` at `base`, with the key of API_KEY, and attaches. `received` counts what came, `position` is how far
 * the output is, what was skipped included.
 */
export async function watch(base, command) {
  const authorization = `Bearer ${process.env['API_KEY'] ?? ''}`
  const session = await post(`${base}/api/sessions`, { command }, { authorization })
  return attach(base, await session.json())
}

async function attach(base, { sessionId, terminalUrl }) {
  const token = new URL(terminalUrl).searchParams.get('token')
  const redeemed = await post(`${base}/ws/${sessionId}/redeem`, { token }, { origin: base })
  const cookie = redeemed.headers.get('set-cookie').split(';')[0]
  const { viewer: name } = await redeemed.json()
  const headers = { cookie, origin: base }
  const url = `${base.replace('http', 'ws')}/ws/${sessionId}?viewer=${name}`
  const socket = new WebSocket(url, [V1_PROTOCOL], { perMessageDeflate: false, headers })
  const viewer = { socket, received: 0, position: 0, lastAt: 0 }
  viewer.ended = new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send(encodeClientHello({ columns: 120, rows: 40 })))
    let acknowledged = 0
    socket.on('message', (message) => {
      const { type, bytes, hello, seq } = decodeServerMessage(message)
      if (type === 'exit') return resolve()
      if (type === 'hello') return (viewer.position = acknowledged = hello.seq)
      if (type === 'snapshot') viewer.position = acknowledged = seq
      else if (type === 'data') viewer.position += bytes.length
      else return undefined
      viewer.received += message.length
      viewer.lastAt = performance.now()
      if (viewer.position - acknowledged >= ACK_EVERY_BYTES)
        socket.send(encodeJson(ClientType.ack, { seq: (acknowledged = viewer.position) }))
    })
  })
  return viewer
}

async function post(url, body, headers) {
  const request = {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  }
  const response = await fetch(url, request)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response
}
