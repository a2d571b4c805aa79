/** A PostgreSQL, keys, and gateways as processes of their own (the built dist/main.js), for the benchmarks here. */
import { fork } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SESSION_TOKEN, TOKEN_ISSUER } from '@cliscale/contract'
import { startPostgres } from '@cliscale/local-postgres'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import pg from 'pg'
import { migrate } from '../../controller/dist/db/migrate.js'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

/** Starts it all; `stop` ends it all. */
export async function startRig({ gateways = 1 } = {}) {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-bench-'))
  await chmod(dir, 0o755)
  const password = randomBytes(12).toString('hex')
  const postgres = await startPostgres({ dataDir: dir, password, disposable: true })
  const url = postgres.url({ user: 'postgres', password, database: 'postgres' })
  await migrate(url)
  const db = new pg.Pool({ connectionString: url, max: 2 })
  const keys = await createKeys()
  const jwks = http.createServer((_req, res) => res.end(JSON.stringify({ keys: [keys.jwk] })))
  jwks.listen(0, '127.0.0.1')
  await once(jwks, 'listening')
  const env = {
    PATH: process.env.PATH,
    CLISCALE_DATABASE_URL: `${url}${url.includes('?') ? '&' : '?'}options=-c%20role%3Dcliscale_gateway`,
    CLISCALE_JWKS_URL: `http://127.0.0.1:${jwks.address().port}/jwks.json`,
    CLISCALE_POD_NETWORKS: '127.0.0.0/8',
    CLISCALE_PORT: '0',
    CLISCALE_LOG_LEVEL: 'info',
  }
  const running = await Promise.all(Array.from({ length: gateways }, () => startGateway(env)))
  return {
    db,
    gateways: running,
    ...seeding(db, keys),
    stop: async () => {
      for (const gateway of running) await gateway.stop()
      await db.end()
      jwks.close()
      await postgres.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function createKeys() {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  return { privateKey, kid, jwk: { ...jwk, kid, alg: 'RS256', use: 'sig' } }
}

async function startGateway(env) {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
  const probe = fileURLToPath(new URL('probe.mjs', import.meta.url))
  const child = fork(main, [], { env, execArgv: ['--expose-gc', '--import', probe], silent: true })
  const port = await new Promise((resolve, reject) => {
    child.stderr.on('data', (text) => process.stderr.write(text))
    child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}`)))
    let text = ''
    child.stdout.on('data', (chunk) => {
      // The log is written like in production, and read, but kept only until the port is known.
      if (text === undefined) return
      text += chunk
      const found = /"address":\{[^}]*"port":(\d+)/.exec(text)
      if (found === null) return
      text = undefined
      resolve(Number(found[1]))
    })
  })
  return {
    port,
    resources: async () => {
      child.send('resources')
      return (await once(child, 'message'))[0]
    },
    stop: async () => {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

function seeding(db, keys) {
  return {
    /** A running session whose pod listens on `port`. */
    session: async (port) => {
      const id = randomUUID()
      await db.query(
        `insert into sessions (id, owner, status, timeout_seconds, pod_uid) values ($1, 'bench', 'running', 60, 'p')`,
        [id],
      )
      await db.query(
        `insert into session_endpoints (session_id, pod_ip, port, pod_uid) values ($1, '127.0.0.1', $2, 'p')`,
        [id, port],
      )
      return id
    },
    /** Tokens of a session with their rows. */
    tokens: async (sid, count) => {
      const iat = Math.floor(Date.now() / 1000)
      const minted = []
      for (let i = 0; i < count; i += 1) {
        const jti = randomUUID()
        const { audience: aud } = SESSION_TOKEN
        const claims = { iss: TOKEN_ISSUER, aud, sub: 'bench', sid, jti, mode: 'rw', iat, exp: iat + 3600 }
        const header = { alg: 'RS256', typ: SESSION_TOKEN.type, kid: keys.kid }
        minted.push({ jti, token: await new SignJWT(claims).setProtectedHeader(header).sign(keys.privateKey) })
      }
      await db.query(
        `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at)
         select jti, $1, 'rw', gen_random_uuid(), 'assertion', now() + interval '1 hour' from unnest($2::uuid[]) jti`,
        [sid, minted.map(({ jti }) => jti)],
      )
      return minted.map(({ token }) => token)
    },
    /** A cookie that opens a session any number of times. */
    cookie: async (sid) => {
      const viewer = randomUUID()
      const secret = randomBytes(32).toString('base64url')
      await db.query(
        `insert into session_viewers (id, session_id, mode, secret_hash, assertion, expires_at)
         values ($1, $2, 'rw', $3, 'assertion', now() + interval '1 hour')`,
        [viewer, sid, createHash('sha256').update(secret).digest()],
      )
      return `cs_${viewer}=${secret}`
    },
  }
}

/** The head of an upgrade request. */
export function upgradeHead({ port, sid, token, cookie }) {
  const lines = [
    `GET /ws/${sid}${token === undefined ? '' : `?token=${token}`} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Key: ${KEY}`,
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: cliscale.v1',
  ]
  if (cookie !== undefined) lines.push(`Cookie: ${cookie}`, `Origin: http://127.0.0.1:${port}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** A pod of bare TCP: answers the upgrade, then `serve` has the socket. */
export async function startPod(serve) {
  const sockets = new Set()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    if (serve === undefined) return void socket.resume()
    socket.once('data', (head) => {
      const key = /sec-websocket-key: (.+)\r\n/i.exec(head.toString('latin1'))?.[1] ?? ''
      const accept =
        key === KEY ? ACCEPT : createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      const answer = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
      answer.push(`Sec-WebSocket-Accept: ${accept}`, 'Sec-WebSocket-Protocol: cliscale.v1')
      socket.write(`${answer.join('\r\n')}\r\n\r\n`)
      serve(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    sockets,
    stop: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** Runs `task(i)` for 0 … count-1, `width` at a time. */
export async function inParallel(count, width, task) {
  let next = 0
  const worker = async () => {
    while (next < count) await task(next++)
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker))
}

/** The value at a share of sorted values. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}
