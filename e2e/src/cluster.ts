/** The system that `npm run e2e:up` made: its public API, and kubectl to look at it and to break it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { SessionView } from '@cliscale/contract'
import { type Api, createApi } from './system.ts'

const run = promisify(execFile)
export const ROOT = path.resolve(import.meta.dirname, '../..')
export const NAMESPACE = 'ws-cli'
export const SESSIONS = 'ws-cli-sessions'
export const SESSION_LABEL = 'cliscale.dev/session-id'

interface State {
  readonly kubeconfig: string
  readonly binaries: string | null
  readonly address: string
  /** Where the programs of the test cluster are; null on any other cluster. */
  readonly clusterFolder: string | null
  readonly images: Readonly<Record<string, string>>
  readonly database: string | null
}

/** What `e2e:up` wrote down. */
export const state = JSON.parse(readFileSync(path.join(ROOT, '.cache/e2e/state.json'), 'utf8')) as State
const env = {
  ...process.env,
  KUBECONFIG: state.kubeconfig,
  PATH: [state.binaries, process.env['PATH']].filter(Boolean).join(':'),
}

export interface ContainerStatus {
  readonly name: string
  readonly restartCount: number
  readonly state: {
    readonly waiting?: { readonly reason?: string }
    readonly running?: { readonly startedAt: string }
    readonly terminated?: { readonly exitCode: number; readonly reason?: string }
  }
}
export interface Pod {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly labels: Readonly<Record<string, string>>
    readonly creationTimestamp: string
    readonly deletionTimestamp?: string
  }
  readonly spec: Record<string, unknown>
  readonly status: {
    readonly phase: string
    readonly podIP?: string
    readonly conditions?: readonly {
      readonly type: string
      readonly status: string
      readonly lastTransitionTime: string
    }[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
    readonly containerStatuses?: readonly ContainerStatus[]
  }
}

/** Runs kubectl and returns what it printed. @throws when it fails, with what it said */
export async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run('kubectl', ['--request-timeout=20s', ...args], {
    env,
    maxBuffer: 1 << 26,
    timeout: 120_000,
  })
  return stdout
}

export async function kubectlJson<T>(...args: string[]): Promise<T> {
  return JSON.parse(await kubectl(...args, '-o', 'json')) as T
}

/** Runs kubectl with a text as its standard input. */
export async function kubectlWith(input: string, ...args: string[]): Promise<string> {
  const running = run('kubectl', ['--request-timeout=20s', ...args], { env, timeout: 60_000 })
  running.child.stdin?.end(input)
  return (await running).stdout
}

/** Starts a kubectl that goes on until it is killed, such as a watch. What it prints is on its standard output. */
export function spawnKubectl(...args: string[]): ChildProcess & { readonly stdout: Readable } {
  return spawn('kubectl', args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Hands objects to the API server. */
export async function apply(...objects: object[]): Promise<void> {
  await kubectlWith(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }), 'apply', '-f', '-')
}

/** Runs helm and returns what it printed. */
export async function helm(args: string[], timeoutMs = 300_000): Promise<string> {
  const { stdout, stderr } = await run('helm', args, { env, maxBuffer: 1 << 26, timeout: timeoutMs })
  return stdout + stderr
}

/** Runs a program of the test cluster's folder: `up`, `outside`, `database`. */
export async function clusterProgram(name: string, ...args: string[]): Promise<string> {
  if (state.clusterFolder === null) throw new Error('this is not the test cluster')
  // What `up` starts stays, and must not keep anything of ours: by its environment it would be taken for a leftover.
  const { stdout } = await run(path.join(state.clusterFolder, name), args, {
    env: { PATH: process.env['PATH'] },
    maxBuffer: 1 << 28,
    timeout: 300_000,
  })
  return stdout
}

/** Runs psql or pg_dump on the release's database, as its owner. */
export async function onDatabase(program: 'psql' | 'pg_dump', ...args: string[]): Promise<string> {
  const path = 'jsonpath={.data.DATABASE_URL}'
  const url = Buffer.from(await kubectl('get', 'secret', 'cliscale-database', '-n', NAMESPACE, '-o', path), 'base64')
  return clusterProgram('outside', program, url.toString(), ...args)
}

/** The process id of a part of the test cluster, such as `apiserver`. */
export function partPid(part: string): number {
  return Number(readFileSync(path.join(path.dirname(state.kubeconfig), `${part}.pid`), 'utf8'))
}

export async function apiKey(namespace = NAMESPACE): Promise<string> {
  const encoded = await kubectl('get', 'secret', 'cliscale-api-key', '-n', namespace, '-o', 'jsonpath={.data.API_KEY}')
  return Buffer.from(encoded, 'base64').toString()
}

/** The public API as its users reach it. */
export async function openApi(address = state.address, namespace = NAMESPACE): Promise<Api> {
  return createApi(address, await apiKey(namespace))
}

export async function podsOf(sessionId: string): Promise<Pod[]> {
  const list = await kubectlJson<{ items: Pod[] }>('get', 'pods', '-n', SESSIONS, '-l', `${SESSION_LABEL}=${sessionId}`)
  return list.items
}

/** Everything of a session that the API server still has. */
export async function objectsOf(sessionId: string): Promise<string[]> {
  const label = `${SESSION_LABEL}=${sessionId}`
  const text = await kubectl('get', 'jobs,pods,secrets,configmaps', '-n', SESSIONS, '-l', label, '-o', 'name')
  return text.split('\n').filter((line) => line !== '')
}

/** Pods of one of our components that are running. */
export async function componentPods(component: 'controller' | 'gateway'): Promise<Pod[]> {
  const selector = `app.kubernetes.io/name=cliscale,app.kubernetes.io/component=${component}`
  return (await kubectlJson<{ items: Pod[] }>('get', 'pods', '-n', NAMESPACE, '-l', selector)).items
}

/** Looks again and again until `probe` gives something. Throws with the last thing seen when it does not in time. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  limitMs = 30_000,
): Promise<T> {
  const end = Date.now() + limitMs
  let last: unknown
  for (;;) {
    const value = await probe().catch((error: unknown) => void (last = error))
    if (value !== undefined && value !== false) return value
    if (Date.now() > end)
      throw new Error(`not within ${limitMs} ms: ${what}`, last === undefined ? {} : { cause: last })
    await sleep(200)
  }
}

/** Waits until a session is in one of these states. */
export function untilStatus(
  api: Api,
  sessionId: string,
  statuses: readonly string[],
  limitMs = 60_000,
): Promise<SessionView> {
  return eventually(
    `session ${sessionId} is ${statuses.join(' or ')}`,
    async () => {
      const now = await api.get(sessionId)
      return statuses.includes(now.status) && now
    },
    limitMs,
  )
}
