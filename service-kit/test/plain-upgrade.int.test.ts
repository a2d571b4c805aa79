import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { expect, test } from '@jest/globals'
import { createHttpServer } from '../src/http.ts'
import { answerWithoutUpgrade } from '../src/plain-upgrade.ts'

/** Sends pieces, one in each turn, and reads until the server ends the connection. */
async function ask(pieces: readonly string[]): Promise<string> {
  const server = createHttpServer((req, res) => {
    let body = ''
    req.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    req.on('end', () => {
      const { upgrade, host, 'http2-settings': settings } = req.headers
      res.end(JSON.stringify([req.method, req.url, body.length, host, upgrade ?? settings ?? null]))
    })
  })
  server.on('upgrade', (req, socket, head) => answerWithoutUpgrade(server, req, socket, head))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const closed = once(socket, 'close')
  let answer = ''
  socket.on('data', (chunk) => (answer += chunk.toString()))
  for (const piece of pieces) {
    socket.write(piece)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await closed
  await new Promise((resolve) => server.close(resolve))
  return answer
}

const OFFER = 'Host: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'

test.each([
  ['without a body', [`GET /x?y HTTP/1.1\r\n${OFFER}\r\n`], ['GET', '/x?y', 0]],
  ['with a body', [`POST /x HTTP/1.1\r\n${OFFER}Content-Length: 5\r\n\r\nhello`], ['POST', '/x', 5]],
  [
    'with a body in pieces',
    [`POST /x HTTP/1.1\r\n${OFFER}Content-Length: 300000\r\n\r\n`, 'x'.repeat(1), 'x'.repeat(299_999)],
    ['POST', '/x', 300_000],
  ],
  [
    'with a chunked body',
    [`POST /x HTTP/1.1\r\n${OFFER}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`, '0\r\n\r\n'],
    ['POST', '/x', 2],
  ],
])('an h2c upgrade %s is answered as a plain request, and the connection closes', async (_name, pieces, expected) => {
  const answer = await ask(pieces)
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200'])
  expect(answer).toMatch(/\r\nConnection: close\r\n/)
  expect(JSON.parse(answer.split('\r\n\r\n')[1]!.replace(/^[0-9a-f]+\r\n|\r\n0$/g, ''))).toEqual([
    ...expected,
    'a.test',
    null,
  ])
})
