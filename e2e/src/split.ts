import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { migrate } from '@cliscale/controller'
import { startPostgres } from '@cliscale/local-postgres'
import { type Api, createApi, freePort } from './system.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const KEY = 'cs_key_e2e_0123456789abcdef'

/** One process of ours that a test may kill and start again, with the same settings on the same port. */
export interface Part {
  readonly base: string
  /** Ends it without a goodbye; resolves when it has gone. */
  kill(): Promise<void>
  /** Asks it to end; resolves with its exit code when it has gone. */
  stop(): Promise<number | null>
  start(): Promise<void>
}

/** Controller and gateways as processes of their own, on one database, as on a cluster. Its end is that of its sessions. */
export interface Split extends AsyncDisposable {
  readonly api: Api
  readonly dir: string
  readonly controller: Part
  readonly gateways: readonly Part[]
}

export async function startSplit(
  gatewayCount: number,
  ofGateways: Readonly<Record<string, string>> = {},
): Promise<Split> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cs-split-'))
  await chmod(dir, 0o755)
  const password = randomBytes(12).toString('hex')
  const postgres = await startPostgres({ dataDir: path.join(dir, 'postgres'), password })
  const url = postgres.url({ user: 'postgres', password, database: 'postgres' })
  await migrate(url)
  const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const controller = await part('controller/dist/main.js', {
    CLISCALE_DATABASE_URL: url,
    CLISCALE_API_KEY: KEY,
    CLISCALE_DATA_KEY: randomBytes(32).toString('hex'),
    CLISCALE_SIGNING_KEY: signingKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    CLISCALE_INTERNAL_PORT: String(await freePort()),
    CLISCALE_DATA_DIR: path.join(dir, 'data'),
    CLISCALE_SESSIONS_PER_MINUTE: '100000',
  })
  const gatewaySettings = {
    // As its own role: what the grants do not allow must not be needed.
    CLISCALE_DATABASE_URL: `${url}&options=${encodeURIComponent('-c role=cliscale_gateway')}`,
    CLISCALE_JWKS_URL: `${controller.base}/.well-known/jwks.json`,
    CLISCALE_POD_NETWORKS: '127.0.0.0/8',
    ...ofGateways,
  }
  const gateways = await Promise.all(
    Array.from({ length: gatewayCount }, () => part('ws-gateway/dist/main.js', gatewaySettings)),
  )
  const api = createApi(controller.base, KEY)
  return {
    api,
    dir,
    controller,
    gateways,
    [Symbol.asyncDispose]: async () => {
      try {
        await endSessions(api)
      } finally {
        for (const each of [...gateways, controller]) await each.kill()
        await postgres.stop()
        await rm(dir, { recursive: true, force: true })
      }
    },
  }
}

/** Those of a test that failed would outlive their controller. */
async function endSessions(api: Api): Promise<void> {
  const { sessions } = await api.list()
  for (const { sessionId } of sessions) {
    await api.stop(sessionId)
    await api.ended(sessionId)
  }
}

async function part(program: string, settings: Record<string, string>): Promise<Part> {
  const port = await freePort()
  const base = `http://127.0.0.1:${port}`
  const env = { PATH: process.env['PATH'], CLISCALE_PORT: String(port), CLISCALE_LOG_LEVEL: 'warn', ...settings }
  let child: ChildProcess | undefined
  const self: Part = {
    base,
    start: async () => {
      child = spawn(process.execPath, [path.join(ROOT, program)], { env, stdio: ['ignore', 'inherit', 'inherit'] })
      for (let tries = 0; tries < 300; tries++) {
        if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
        if (
          await fetch(`${base}/readyz`).then(
            (r) => r.ok,
            () => false,
          )
        )
          return
        await sleep(100)
      }
      throw new Error(`${program} was not ready within 30 s`)
    },
    stop: async () => {
      if (!child) throw new Error(`${program} was not started`)
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      const [code] = (await gone) as [number | null]
      return code
    },
    kill: async () => {
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
  await self.start()
  return self
}
