import { spawn, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { expect, test } from '@jest/globals'

const PROGRAM = `
  import { createLogger } from '@cliscale/service-kit'
  const logger = createLogger({ service: 'test' })
  logger.info('one')
  logger.fatal({ err: new Error('broken') }, 'two')
  await new Promise((resolve) => setTimeout(resolve, 50))
  process.stderr.write('went on')
`

async function run(stdio: StdioOptions): Promise<{ code: number | null; out: string; err: string }> {
  const args = ['--input-type=module', '-e', PROGRAM]
  const child = spawn(process.execPath, args, {
    cwd: import.meta.dirname,
    stdio,
    timeout: 10_000,
    killSignal: 'SIGKILL',
  })
  const [out, err, [code]] = await Promise.all([
    child.stdout === null ? '' : text(child.stdout),
    child.stderr === null ? '' : text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { code, out, err }
}

test('each line is written as a JSON object of its own', async () => {
  const { code, out } = await run(['ignore', 'pipe', 'pipe'])
  expect(code).toBe(0)
  const lines = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { severity: string; message: string })
  expect(lines).toMatchObject([
    { severity: 'INFO', message: 'one' },
    { severity: 'CRITICAL', message: 'two' },
  ])
})

test('a log on a full disk neither ends nor blocks the process', async () => {
  const full = await open('/dev/full', 'w')
  try {
    expect(await run(['ignore', full.fd, 'pipe'])).toMatchObject({ code: 0, err: 'went on' })
  } finally {
    await full.close()
  }
})
