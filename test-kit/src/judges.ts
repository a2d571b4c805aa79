import { execFile } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'

/** Folder of the judges' programs; `npm run judges` installs them and names it. */
const JUDGES = process.env['TEST_JUDGES'] ?? ''

const FILES = path.resolve(import.meta.dirname, '../judges')
const run = promisify(execFile)

/** What the Autobahn test suite says of one of its cases. */
export interface Verdict {
  readonly id: string
  readonly passed: boolean
  readonly behavior: string
  readonly close: string
  readonly why: string
  /** Only a server that sends back what it gets can pass it. */
  readonly waitsForEcho: boolean
}

/** Runs cases, by id or glob; a leading `-` leaves them out. @throws Error when the judge itself fails. */
export async function autobahn(url: string, ...cases: string[]): Promise<Verdict[]> {
  const python = path.join(JUDGES, 'python')
  const { stdout } = await run(python, [path.join(FILES, 'autobahn.py'), url, ...cases], {
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Verdict] : []))
}

/** Runs Schemathesis on a description of an API at an address; what it writes goes into a folder of the caller's. */
export async function schemathesis(
  document: string,
  options: { base: string; key: string; folder: string; args?: readonly string[] },
): Promise<{ passed: boolean; output: string }> {
  const settings = ['--config-file', path.join(FILES, 'schemathesis.toml')]
  const at = ['--url', options.base, '--header', `Authorization: Bearer ${options.key}`]
  const env = { ...process.env, SCHEMATHESIS_HOOKS: 'hooks', PYTHONPATH: FILES, PYTHONDONTWRITEBYTECODE: '1' }
  const args = [...settings, 'run', document, ...at, ...(options.args ?? [])]
  const limits = { maxBuffer: 64 * 1024 * 1024, timeout: 240_000, env, cwd: options.folder }
  return run(path.join(JUDGES, 'schemathesis'), args, limits).then(
    ({ stdout }) => ({ passed: true, output: stdout }),
    (error: { code?: unknown; stdout?: string; stderr?: string }) => {
      if (error.code !== 1) throw error
      return { passed: false, output: `${error.stdout ?? ''}${error.stderr ?? ''}` }
    },
  )
}

/**
 * A port whose connections go to `port`, with header lines put into each request's head: judges send none. An `Origin`
 * of its own address is one of them.
 */
export async function withHeaders(
  port: number,
  headers: Record<string, string>,
): Promise<{ port: number } & AsyncDisposable> {
  const lines = (): string[] =>
    Object.entries({ Origin: `http://127.0.0.1:${own()}`, ...headers }).map(([name, value]) => `\r\n${name}: ${value}`)
  const sockets = new Set<Socket>()
  const server = net.createServer((client) => {
    const target = net.connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.once('close', () => {
        sockets.delete(from)
        to.destroySoon()
      })
    }
    let head = ''
    const onHead = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      client.off('data', onHead)
      target.write(head.slice(0, end) + lines().join('') + head.slice(end), 'latin1')
      client.pipe(target)
    }
    client.on('data', onHead)
    target.pipe(client)
  })
  const own = (): number => (server.address() as AddressInfo).port
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: own(),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
