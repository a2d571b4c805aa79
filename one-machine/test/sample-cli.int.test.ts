import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { removeFolder, temporaryFolder } from './support.ts'

const run = promisify(execFile)
const SAMPLE = path.resolve(import.meta.dirname, '../../sample-cli')
const KEY = 'sk-ant-canary-0123456789'
let root: string

beforeAll(async () => {
  root = await temporaryFolder()
  await cp(SAMPLE, root, { recursive: true, filter: (file) => !file.includes('node_modules') })
  await run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: root })
}, 120_000)

afterAll(() => removeFolder(root))

interface Ended {
  readonly code: number
  readonly output: string
}

async function sample(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const options = { cwd: root, env: { PATH: process.env['PATH'], ...env } }
  return run(process.execPath, ['index.js', ...args], options).then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: error.stdout + error.stderr,
    }),
  )
}

/** A server that answers as Claude's does, and the requests that it got. */
async function claude(
  answer: (res: ServerResponse) => void,
): Promise<AsyncDisposable & { url: string; asked: unknown[] }> {
  const asked: unknown[] = []
  const server = createServer((req: IncomingMessage, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => (body += chunk.toString()))
    req.on('end', () => {
      asked.push({ url: req.url, key: req.headers['x-api-key'], body: JSON.parse(body) as unknown })
      answer(res)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function event(value: unknown): string {
  return `event: x\ndata: ${JSON.stringify(value)}\n\n`
}

test('explains wrong usage in one sentence and exits with 2', async () => {
  for (const args of [[], ['walk'], ['run', '--exit', '256'], ['run', '--seconds', 'long'], ['run', '--loud']]) {
    const { code, output } = await sample(args)
    expect(code).toBe(2)
    expect(output.trim().split('\n')).toHaveLength(1)
    expect(output).toContain('Try: node index.js --help')
  }
})

test('prints plain text without a terminal and a key, shows the prompt, and exits with the requested code', async () => {
  const { code, output } = await sample(['run', '--exit', '7'], { PROMPT: 'say hello' })
  expect(code).toBe(7)
  expect(output).toContain('Count the primes below 2,000,000: 148,933')
  expect(output).toContain('There is no terminal here')
  expect(output).toContain('ANTHROPIC_API_KEY is not set, so Claude is not asked.')
  expect(output).toContain('say hello (2 words)')
  expect(output).not.toContain('\u001b[3')
})

test('asks Claude when it has a key, and streams the answer without characters that control the terminal', async () => {
  await using server = await claude((res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write(event({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'Hello ' } }))
    res.end(event({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'wor\u001b]52;c;eA==\u0007ld' } }))
  })
  const env = {
    PROMPT: 'say hello',
    ANTHROPIC_API_KEY: KEY,
    ANTHROPIC_BASE_URL: server.url,
    ANTHROPIC_MODEL: 'a-model',
  }
  const { code, output } = await sample(['run'], env)
  expect(code).toBe(0)
  expect(output).toContain('Hello wor]52;c;eA==ld')
  expect(server.asked).toEqual([
    {
      url: '/v1/messages',
      key: KEY,
      body: expect.objectContaining({ model: 'a-model', messages: [{ role: 'user', content: 'say hello' }] }),
    },
  ])
})

test.each([
  [401, 'the key in ANTHROPIC_API_KEY was not accepted.'],
  [429, 'too many requests with this key just now'],
  [404, 'its server says 404: model: no such model'],
])('explains a refusal with %i in plain words, without the key', async (status, sentence) => {
  await using server = await claude((res) => {
    res.writeHead(status).end(JSON.stringify({ error: { message: 'model: no such model' } }))
  })
  const { code, output } = await sample(['run'], { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: server.url })
  expect(code).toBe(1)
  expect(output).toContain(`Claude did not answer: ${sentence}`)
  expect(output).not.toContain(KEY)
})

test('explains an answer that breaks off, and a server that is not there, in plain words', async () => {
  await using server = await claude((res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write(event({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'Hel' } }), () => res.destroy())
  })
  const broken = await sample(['run'], { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: server.url })
  expect(broken.code).toBe(1)
  expect(broken.output).toMatch(/Claude did not answer: the answer broke off \(\w+\)\./)
  const absent = await sample(['run'], { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: 'http://127.0.0.1:1' })
  expect(absent.output).toContain('Claude did not answer: its server cannot be reached (')
  const odd = await sample(['run'], { ANTHROPIC_API_KEY: 'has a\nline break' })
  expect(odd.output).toContain('holds characters that no key has')
  for (const { output } of [broken, absent, odd]) expect(output).not.toMatch(/ {4}at /)
}, 60_000)
