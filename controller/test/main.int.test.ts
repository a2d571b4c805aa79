import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '@cliscale/test-kit'
import { generateSigningKey } from '../src/tokens/signer.ts'
import { expectEventually } from './launch-contract.ts'

const dist = (file: string) => fileURLToPath(new URL(`../dist/${file}`, import.meta.url))
const KEY = 'cs_key_canary-12345678'

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

class Program {
  readonly child: ChildProcess
  #stdout = ''
  #stderr = ''
  constructor(file: string, args: readonly string[], env: Record<string, string>) {
    this.child = spawn(process.execPath, [dist(file), ...args], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout!.on('data', (data: Buffer) => (this.#stdout += data.toString()))
    this.child.stderr!.on('data', (data: Buffer) => (this.#stderr += data.toString()))
  }

  async ended(): Promise<Ended> {
    const [code] = (await once(this.child, 'close')) as [number | null]
    return { code, stdout: this.#stdout, stderr: this.#stderr }
  }

  /** The first log line with this message. */
  async line(message: string): Promise<Record<string, unknown>> {
    for (;;) {
      const lines = this.#stdout.split('\n').filter((line) => line.startsWith('{'))
      const found = lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .find((l) => l['message'] === message)
      if (found !== undefined) return found
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}: ${this.#stderr}`)
      await Promise.race([once(this.child.stdout!, 'data'), once(this.child, 'close')])
    }
  }
}

let database: TestDatabase
let dir: string
let env: Record<string, string>
beforeAll(async () => {
  database = await createTestDatabase()
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-test-'))
  const pem = await generateSigningKey()
  await writeFile(path.join(dir, 'key.pem'), pem, { mode: 0o600 })
  env = {
    CLISCALE_DATABASE_URL: database.url,
    CLISCALE_API_KEY: KEY,
    CLISCALE_DATA_KEY: randomBytes(32).toString('hex'),
    CLISCALE_SIGNING_KEY_FILE: path.join(dir, 'key.pem'),
    CLISCALE_DATA_DIR: path.join(dir, 'data'),
    CLISCALE_PORT: '0',
    CLISCALE_INTERNAL_PORT: '0',
  }
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

async function file(name: string, text: string): Promise<string> {
  await writeFile(path.join(dir, name), text)
  return path.join(dir, name)
}

/** Settings of a controller whose cluster does not exist. */
async function clusterEnv(): Promise<Record<string, string>> {
  const { CLISCALE_DATA_DIR: _, ...rest } = env
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'a', cluster: { server: 'http://127.0.0.1:1' } }],
    users: [{ name: 'a', user: {} }],
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    'current-context': 'a',
  }
  return {
    ...rest,
    KUBECONFIG: await file('kubeconfig.json', JSON.stringify(kubeconfig)),
    CLISCALE_KUBERNETES_NAMESPACE: 'sessions',
    CLISCALE_INTERNAL_URL: 'http://127.0.0.1:7082',
    CLISCALE_SESSION_TEMPLATE_FILE: await file('session.json', '{"runnerImage":"example.com/runner:1"}'),
  }
}

async function occupied(): Promise<{ port: string } & AsyncDisposable> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { port: String(port), [Symbol.asyncDispose]: async () => void (await once(server.close(), 'close')) }
}

describe('the controller as a process', () => {
  test('names every fault of its settings at once and exits with 78', async () => {
    const { code, stderr, stdout } = await new Program('main.js', [], {
      CLISCALE_API_KEY: 'short',
      CLISCALE_PRT: '80',
      CLISCALE_PORT: '80000',
    }).ended()
    expect(code).toBe(78)
    expect(stdout).toBe('')
    for (const name of ['DATABASE_URL', 'DATA_KEY', 'SIGNING_KEY', 'API_KEY', 'PRT', 'PORT'])
      expect(stderr).toMatch(new RegExp(`- CLISCALE_${name} `))
  })

  test('explains in one sentence that a database cannot be reached, or is not migrated', async () => {
    const away = await new Program('main.js', [], {
      ...env,
      CLISCALE_DATABASE_URL: 'postgres://a:canary-pw@127.0.0.1:1/x',
    }).ended()
    expect([away.code, away.stderr]).toEqual([78, expect.stringContaining('cannot be used (ECONNREFUSED)')])
    expect(away.stderr + away.stdout).not.toContain('canary')
    const empty = await new Program('main.js', [], env).ended()
    expect([empty.code, empty.stderr]).toEqual([78, expect.stringContaining('run the migrations first')])
  })

  test('needs exactly one backend for sessions, and every setting of that backend', async () => {
    const { CLISCALE_DATA_DIR: dataDir, ...rest } = env
    const none = await new Program('main.js', [], rest).ended()
    expect([none.code, none.stderr]).toEqual([78, expect.stringContaining('one of CLISCALE_KUBERNETES_NAMESPACE')])
    const both = await new Program('main.js', [], { ...env, CLISCALE_KUBERNETES_NAMESPACE: 'sessions' }).ended()
    expect([both.code, both.stderr]).toEqual([78, expect.stringContaining('only one of CLISCALE_KUBERNETES_NAMESPACE')])
    const bare = await new Program('main.js', [], { ...rest, CLISCALE_KUBERNETES_NAMESPACE: 'sessions' }).ended()
    expect(bare.code).toBe(78)
    for (const name of ['CLISCALE_INTERNAL_URL', 'CLISCALE_SESSION_TEMPLATE_FILE'])
      expect(bare.stderr).toContain(`${name} is required together with CLISCALE_KUBERNETES_NAMESPACE`)
    const foreign = await new Program('main.js', [], { ...env, CLISCALE_INTERNAL_URL: 'http://x:1' }).ended()
    expect([foreign.code, foreign.stderr]).toEqual([78, expect.stringContaining('CLISCALE_INTERNAL_URL belongs to')])
    expect(dataDir).toBeDefined()
  })

  test('explains in one sentence that a session template or kubeconfig cannot be used', async () => {
    const cases: [Record<string, string>, string][] = [
      [
        { CLISCALE_SESSION_TEMPLATE_FILE: path.join(dir, 'none.json') },
        'CLISCALE_SESSION_TEMPLATE_FILE cannot be read (ENOENT)',
      ],
      [
        { CLISCALE_SESSION_TEMPLATE_FILE: await file('bad.json', '{"runnerImage":"x:1","imges":{}}') },
        'session template: imges',
      ],
      [{ KUBECONFIG: await file('bad.yaml', 'nonsense: [') }, 'kubeconfig'],
      [{ KUBECONFIG: '' }, 'kubeconfig'],
    ]
    for (const [extra, sentence] of cases) {
      const { code, stderr } = await new Program('main.js', [], { ...(await clusterEnv()), ...extra }).ended()
      expect([code, stderr.trimEnd().split('\n').length, stderr]).toEqual([78, 2, expect.stringContaining(sentence)])
    }
  })

  test('migrates, starts, answers, shows no secret, and drains on SIGTERM with exit code 0', async () => {
    const migrated = await new Program('db/migrate-cli.js', ['latest'], env).ended()
    expect([migrated.code, migrated.stdout]).toEqual([0, expect.stringMatching(/^Ran 0001-sessions, .*\.\n$/)])
    const again = await new Program('db/migrate-cli.js', ['latest'], env).ended()
    expect(again.stdout).toBe('The database is up to date.\n')

    const program = new Program('main.js', [], env)
    const { port } = await program.line('listening')
    const url = `http://127.0.0.1:${String(port)}`
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    const list = await fetch(`${url}/api/sessions`, { headers: { Authorization: `Bearer ${KEY}` } })
    expect([list.status, await list.json()]).toEqual([200, { sessions: [], nextCursor: null }])
    program.child.kill('SIGTERM')
    const { code, stdout, stderr } = await program.ended()
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('"CLISCALE_SIGNING_KEY":"set"')
    for (const secret of [KEY, 'PRIVATE KEY', env['CLISCALE_DATA_KEY']!, database.url])
      expect(stdout).not.toContain(secret)
  })

  test('drains in order although connections are unused, or announce more than they send', async () => {
    const program = new Program('main.js', [], { ...env, CLISCALE_DRAIN_SECONDS: '9' })
    const { port, internalPort } = await program.line('listening')
    const unused = connect(Number(port), '127.0.0.1')
    const slow = connect(Number(internalPort), '127.0.0.1')
    for (const socket of [unused, slow]) socket.on('error', () => undefined)
    await Promise.all([once(unused, 'connect'), once(slow, 'connect')])
    slow.write('POST /internal/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 9\r\n\r\n')
    await program.line('ready')
    program.child.kill('SIGTERM')
    expect(await program.ended()).toMatchObject({ code: 0, stderr: '' })
  }, 60_000)
})

describe('the controller of a cluster', () => {
  test('is alive and not ready until its database exists and is migrated, and accepts sessions while the cluster is unavailable', async () => {
    await using own = await createTestDatabase()
    const program = new Program('main.js', [], { ...(await clusterEnv()), CLISCALE_DATABASE_URL: own.url })
    const { port, internalPort } = await program.line('listening')
    const [url, internalUrl] = [`http://127.0.0.1:${String(port)}`, `http://127.0.0.1:${String(internalPort)}`]
    const headers = { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' }
    const create = () => fetch(`${url}/api/sessions`, { method: 'POST', headers, body: '{"command":"true"}' })
    await program.line('waiting for the database')
    for (const path of ['/healthz', '/.well-known/jwks.json']) expect((await fetch(url + path)).status).toBe(200)
    expect((await fetch(`${internalUrl}/internal/jwks.json`)).status).toBe(200)
    for (const refused of [
      fetch(`${url}/readyz`),
      create(),
      fetch(`${internalUrl}/internal/claim`, { method: 'POST' }),
    ]) {
      const answer = await refused
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
      expect(await answer.json()).toMatchObject({
        code: 'store_unavailable',
        detail: /run the migrations first/ as never,
      })
    }
    await new Program('db/migrate-cli.js', ['latest'], { CLISCALE_DATABASE_URL: own.url }).ended()
    await program.line('ready')
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    const created = await create()
    const { sessionId } = (await created.json()) as { sessionId: string }
    expect(created.status).toBe(201)
    const view = await expectEventually(async () => {
      const answer = (await (await fetch(`${url}/api/sessions/${sessionId}`, { headers })).json()) as { reason: string }
      return answer.reason !== null && answer
    })
    expect(view).toMatchObject({
      status: 'scheduling',
      reason: 'launch_failed',
      detail: /cannot be launched yet: the API server could not be reached/ as never,
    })
    program.child.kill('SIGTERM')
    expect(await program.ended()).toMatchObject({ code: 0, stderr: '' })
  }, 60_000)

  test('ends in order while it still waits, and at once when its login is refused', async () => {
    const away = { CLISCALE_DATABASE_URL: 'postgres://a:canary-pw@127.0.0.1:1/x' }
    const program = new Program('main.js', [], { ...(await clusterEnv()), ...away })
    await program.line('waiting for the database')
    program.child.kill('SIGTERM')
    const { code, stdout } = await program.ended()
    expect([code, stdout]).toEqual([0, expect.stringContaining('(ECONNREFUSED)')])
    expect(stdout).not.toContain('canary')
    const wrong = database.url.replace(/\/[^/?@]+(\?|$)/, '/no_such_database$1')
    const refused = await new Program('main.js', [], {
      ...(await clusterEnv()),
      CLISCALE_DATABASE_URL: wrong,
    }).ended()
    expect([refused.code, refused.stderr]).toEqual([
      78,
      expect.stringContaining('refuses the login or does not exist (3D000)'),
    ])
  })

  test('says in one sentence that its port is taken', async () => {
    await using taken = await occupied()
    const { code, stderr } = await new Program('main.js', [], {
      ...(await clusterEnv()),
      CLISCALE_PORT: taken.port,
    }).ended()
    expect([code, stderr]).toEqual([78, expect.stringMatching(/CLISCALE_PORT: port \d+ of 127.0.0.1 is in use/)])
  })
})

test('the package that a composition imports does not load the Kubernetes client', async () => {
  const hook = `export const resolve = (name, context, next) => {
    if (name.startsWith('@kubernetes/')) throw new Error('loaded ' + name)
    return next(name, context)
  }`
  const script = `import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))
    const { createController } = await import(${JSON.stringify(pathToFileURL(dist('index.js')).href)})
    console.log(typeof createController)
    await import(${JSON.stringify(pathToFileURL(dist('launch/kubernetes/kubernetes-launcher.js')).href)}).catch((error) => console.log(error.message))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (data: Buffer) => (text += data.toString()))
  await once(child, 'close')
  // The second line shows that the hook would have noticed.
  expect(text).toBe('function\nloaded @kubernetes/client-node\n')
})

describe('npm run migrate:make', () => {
  test('writes the next file, which the list then names, and refuses names that are not kebab-case', async () => {
    for (const name of [[], ['Bad Name'], ['../x']]) {
      const { code, stderr } = await new Program('db/migrate-cli.js', ['make', ...name], {}).ended()
      expect([code, stderr]).toEqual([1, expect.stringContaining('kebab-case')])
    }
    const { code, stdout } = await new Program('db/migrate-cli.js', ['make', 'made_by_a_test'], {}).ended()
    // As the README calls it, with underscores; files are named in kebab-case.
    const name = /name: '(\d{4}-made-by-a-test)'/.exec(stdout)?.[1]
    expect([code, name]).toEqual([0, expect.any(String)])
    const made = fileURLToPath(new URL(`../src/db/migrations/${name}.ts`, import.meta.url))
    try {
      expect(await readFile(made, 'utf8')).toContain('export async function down')
    } finally {
      await rm(made, { force: true })
    }
    expect(existsSync(made)).toBe(false)
  })

  test('prints its usage when it is called wrongly', async () => {
    const { code, stderr } = await new Program('db/migrate-cli.js', ['up'], {}).ended()
    expect([code, stderr]).toEqual([1, expect.stringContaining('usage: migrate-cli latest | rollback | make <name>')])
    const unset = await new Program('db/migrate-cli.js', ['latest'], {}).ended()
    expect([unset.code, unset.stderr]).toEqual([1, expect.stringContaining('CLISCALE_DATABASE_URL is not set')])
  })
})
