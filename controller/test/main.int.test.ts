import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '@cliscale/test-kit'
import { generateSigningKey } from '../src/tokens/signer.ts'

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

  /** The first line that was logged with this message. */
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

describe('the controller as a process', () => {
  test('names every fault of its settings at once and exits 78', async () => {
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

  test('refuses a database that cannot be reached, or that is not migrated, with one sentence', async () => {
    const away = await new Program('main.js', [], {
      ...env,
      CLISCALE_DATABASE_URL: 'postgres://a:canary-pw@127.0.0.1:1/x',
    }).ended()
    expect([away.code, away.stderr]).toEqual([78, expect.stringContaining('cannot be used (ECONNREFUSED)')])
    expect(away.stderr + away.stdout).not.toContain('canary')
    const empty = await new Program('main.js', [], env).ended()
    expect([empty.code, empty.stderr]).toEqual([78, expect.stringContaining('run the migrations first')])
  })

  test('migrates, starts, answers, shows no secret, and drains on SIGTERM with exit code 0', async () => {
    const migrated = await new Program('db/migrate-cli.js', ['latest'], env).ended()
    expect([migrated.code, migrated.stdout]).toEqual([0, 'Ran 0001-sessions.\n'])
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
})

describe('npm run migrate:make', () => {
  test('writes the next file, which the list names after that, and refuses names that are not kebab-case', async () => {
    for (const name of [[], ['Bad Name'], ['../x']]) {
      const { code, stderr } = await new Program('db/migrate-cli.js', ['make', ...name], {}).ended()
      expect([code, stderr]).toEqual([1, expect.stringContaining('kebab-case')])
    }
    const file = fileURLToPath(new URL('../src/db/migrations/0002-made-by-a-test.ts', import.meta.url))
    try {
      const { code, stdout } = await new Program('db/migrate-cli.js', ['make', 'made-by-a-test'], {}).ended()
      expect([code, stdout]).toEqual([0, expect.stringContaining("name: '0002-made-by-a-test'")])
      expect(await readFile(file, 'utf8')).toContain('export async function down')
    } finally {
      await rm(file, { force: true })
    }
    expect(existsSync(file)).toBe(false)
  })

  test('tells what it is for when it is called otherwise', async () => {
    const { code, stderr } = await new Program('db/migrate-cli.js', ['up'], {}).ended()
    expect([code, stderr]).toEqual([1, expect.stringContaining('usage: migrate-cli latest | rollback | make <name>')])
    const unset = await new Program('db/migrate-cli.js', ['latest'], {}).ended()
    expect([unset.code, unset.stderr]).toEqual([1, expect.stringContaining('CLISCALE_DATABASE_URL is not set')])
  })
})
