import { once } from 'node:events'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { closeServer, createHttpServer } from '../src/http.ts'

let server: Server

beforeEach(async () => {
  server = createHttpServer(
    (req, res) => {
      let body = ''
      req.on('data', (chunk: Buffer) => (body += chunk.toString()))
      // Later than the client's end arrives.
      req.on('end', () => setTimeout(() => res.end(`${req.method} ${req.url} ${body}`), 150))
    },
    { answersHalfClosed: true },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  // Within its limit: no connection is left that it would have to cut off.
  const began = Date.now()
  if (server.listening) await closeServer(server, 10_000)
  expect(Date.now() - began).toBeLessThan(5_000)
})

function dial(): Socket {
  return connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
}

/** Sends a text, closes this side, and reads until the server closes the other. */
async function ask(text: string): Promise<string> {
  const socket = dial()
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
  socket.end(text)
  await once(socket, 'close')
  return answer
}

test.each([
  ['without a body', 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n', ['GET /a ']],
  ['with a body', 'POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi', ['POST /a hi']],
  ['of HTTP/1.0', 'GET /a HTTP/1.0\r\n\r\n', ['GET /a ']],
  ['behind another', 'GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n', ['GET /a ', 'GET /b ']],
])(
  'a request %s is answered to a client that has closed its side, and the connection ends',
  async (_, text, bodies) => {
    const answer = await ask(text)
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(bodies.map(() => 'HTTP/1.1 200'))
    for (const body of bodies) expect(answer).toContain(body)
  },
)

test('half a request from a client that has closed its side is refused at once', async () => {
  expect(await ask('POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhi')).toMatch(/^HTTP\/1\.1 400 /)
})

test('a client that closes its side without a request is let go at once', async () => {
  expect(await ask('')).toBe('')
})

test('a server that closes waits for such an answer', async () => {
  const answer = ask('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  await sleep(50)
  await closeServer(server, 5_000)
  expect(await answer).toContain('GET /a ')
})

test('a client that is gone altogether is noticed when it is answered', async () => {
  const socket = dial()
  socket.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  await sleep(50)
  socket.destroy()
  await sleep(300)
  expect(await promisify(server.getConnections.bind(server))()).toBe(0)
})
