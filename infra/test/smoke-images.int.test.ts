import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { createTestDatabase } from '@cliscale/test-kit'
import { has, read, root, syntaxFaults } from './repository.ts'

const script = read('infra/smoke-images.sh')
const program = (file: string) => fileURLToPath(new URL(`../../${file}`, import.meta.url))

/** What the script writes into one of its files. */
function fileInScript(name: string): string {
  return new RegExp(`cat >"\\$files/${name}" <<'(\\w+)'\\n([\\s\\S]*?)^\\1$`, 'm').exec(script)?.[2] ?? ''
}

/** The settings that the script gives a container, with what it would put in place of its variables. */
function settings(container: string, given: Record<string, string>): Record<string, string> {
  const block = new RegExp(`--name "\\$run-${container}"[\\s\\S]*?>/dev/null$`, 'm').exec(script)?.[0] ?? ''
  const pairs = [...block.matchAll(/--env (\w+)=(?:"([^"]*)"|(\S+))/g)]
  return Object.fromEntries(
    pairs.map(([, name = '', quoted, plain = '']) => [
      name,
      (quoted ?? plain).replaceAll(/\$(\w+)/g, (_all, variable: string) => given[variable] ?? 'localhost'),
    ]),
  )
}

interface Address {
  readonly port: number
}

/** Starts a program, waits for its port, calls /healthz, and ends it. */
async function healthz(file: string, env: Record<string, string>): Promise<number> {
  const child = spawn(process.execPath, [program(file)], {
    env: { PATH: process.env['PATH'] ?? '', ...env, CLISCALE_LISTEN_ADDRESS: '127.0.0.1', CLISCALE_PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const limit = setTimeout(() => child.kill('SIGKILL'), 60_000)
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      // The controller says {port}, the gateway {address: {port}}.
      const { message, address, ...rest } = JSON.parse(line) as { message?: string; port?: number; address?: Address }
      const port = rest.port ?? address?.port
      if (message === 'listening' && port !== undefined)
        return (await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(20_000) })).status
    }
    throw new Error(`${file} ended before it listened`)
  } finally {
    child.kill('SIGTERM')
    child.stdout.resume()
    await ended
    clearTimeout(limit)
  }
}

describe('infra/smoke-images.sh', () => {
  test('is bash without a fault that shellcheck knows', () => {
    expect(syntaxFaults(script)).toBe('')
    if (!has('shellcheck', '--version')) return
    const { stdout } = spawnSync('shellcheck', ['infra/smoke-images.sh'], { cwd: root, encoding: 'utf8' })
    expect(stdout).toBe('')
  })

  test('prints its usage without images', () => {
    const { status, stderr } = spawnSync('bash', ['infra/smoke-images.sh', 'one'], { cwd: root, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: 'usage: infra/smoke-images.sh CONTROLLER_IMAGE GATEWAY_IMAGE RUNNER_IMAGE\n',
    })
  })

  test('gives the controller and the gateway what they need to be alive without a Kubernetes API', async () => {
    await using database = await createTestDatabase()
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-smoke-'))
    try {
      for (const name of ['session.json', 'kubeconfig']) writeFileSync(path.join(dir, name), fileInScript(name))
      const migrated = spawnSync(process.execPath, [program('controller/dist/db/migrate-cli.js'), 'latest'], {
        env: { ...process.env, CLISCALE_DATABASE_URL: database.url },
      })
      expect(migrated.status).toBe(0)
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      const controller = settings('controller', { database: database.url, key })
      expect(controller['CLISCALE_SESSION_TEMPLATE_FILE']).toBe('/tmp/smoke/session.json')
      const mounted = Object.entries(controller).map(([name, value]) => [name, value.replace('/tmp/smoke', dir)])
      const env = { ...Object.fromEntries(mounted), CLISCALE_INTERNAL_PORT: '0' } as Record<string, string>
      expect(await healthz('controller/dist/main.js', env)).toBe(200)
      expect(await healthz('ws-gateway/dist/main.js', settings('gateway', { database: database.url }))).toBe(200)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }, 90_000)

  test('sets only settings that exist', () => {
    const known = new Set([...read('docs/config.md').matchAll(/^\| `(CLISCALE_\w+)`/gm)].map(([, name]) => name))
    const set = [...script.matchAll(/--env (CLISCALE_\w+)=/g)].map(([, name]) => name)
    expect(set.length).toBeGreaterThan(8)
    expect(set.filter((name) => !known.has(name))).toEqual([])
  })

  test.each(['host', 'work'])('is right that exit code 78 shows the runner’s %s to be alive', (name) => {
    const { status, stderr } = spawnSync(process.execPath, [program(`runner/dist/programs/${name}.js`)], {
      encoding: 'utf8',
      env: {},
    })
    expect(stderr).toContain('The configuration cannot be used')
    expect(status).toBe(78)
  })
})
