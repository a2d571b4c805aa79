/** The cluster that e2e works on: its programs, kubectl and helm, and what `e2e:up` wrote down for the others. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root, Unready } from '../prepare.mjs'

export const NAMESPACE = 'ws-cli'
export const SESSIONS_NAMESPACE = 'ws-cli-sessions'
export const RELEASE = 'cliscale'
const stateFile = path.join(root, '.cache/e2e/state.json')

/** Where the programs `up`, `down`, `env`, `build`, `load`, `outside` and `database` of the test cluster lie. */
export function clusterFolder() {
  return path.resolve(root, process.env['E2E_CLUSTER'] ?? '../shared/cluster')
}

/** Whether the cluster is somebody else's: nothing is started or stopped there, and images go through a registry. */
export function isForeign() {
  return Boolean(process.env['E2E_KUBECONFIG'])
}

/**
 * What `e2e:up` wrote down; undefined when it has not run here.
 *
 * @returns {undefined | {
 *   kubeconfig: string, binaries: string | null, address: string, clusterFolder: string | null, startedCluster: boolean,
 *   images: Record<string, string>, database: string | null,
 * }}
 */
export function readState() {
  return existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : undefined
}

export function writeState(state) {
  mkdirSync(path.dirname(stateFile), { recursive: true })
  writeFileSync(`${stateFile}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${stateFile}.new`, stateFile)
}

export function forgetState() {
  rmSync(stateFile, { force: true })
}

/**
 * Runs a program to its end with a time limit; its output is shown only when it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ input?: string, env?: NodeJS.ProcessEnv, seconds?: number, live?: boolean }} [options] `live` shows what it
 * writes on standard error while it runs
 * @returns {Promise<string>} its standard output
 */
export async function run(command, args, { input, env = process.env, seconds = 300, live = false } = {}) {
  const child = spawn(command, args, { cwd: root, env, stdio: ['pipe', 'pipe', live ? 'inherit' : 'pipe'] })
  const printed = []
  const output = []
  child.stdout.on('data', (chunk) => (output.push(chunk), printed.push(chunk)))
  child.stderr?.on('data', (chunk) => printed.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input ?? '')
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGTERM')
  }, seconds * 1000)
  const code = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Unready(`${command} could not be started: ${error.message}`)))
    child.once('close', (status, signal) => resolve(status ?? signal))
  }).finally(() => clearTimeout(timer))
  if (code === 0) return Buffer.concat(output).toString()
  const why = late ? `took longer than ${seconds} s` : `ended with ${code}`
  const text = Buffer.concat(printed).toString().trim().split('\n').slice(-40).join('\n')
  throw new Unready(`${text}\n${path.basename(command)} ${args.slice(0, 6).join(' ')} ${why}.`)
}

/** With the test cluster's own kubectl and helm first. */
function searchPath(state) {
  const given = process.env['PATH'] ?? ''
  return state.binaries ? `${state.binaries}:${given}` : given
}

/** The environment in which `kubectl` and `helm` find the cluster. */
export function clusterEnv(state) {
  return { ...process.env, KUBECONFIG: state.kubeconfig, PATH: searchPath(state) }
}

/** Runs `kubectl` and returns what it printed. */
export function kubectl(state, args, options = {}) {
  return run('kubectl', ['--request-timeout=30s', ...args], { env: clusterEnv(state), seconds: 120, ...options })
}

export async function kubectlJson(state, args) {
  return JSON.parse(await kubectl(state, [...args, '-o', 'json']))
}

export function apply(state, objects) {
  const list = { apiVersion: 'v1', kind: 'List', items: objects }
  return kubectl(state, ['apply', '--server-side', '--force-conflicts', '--field-manager=cliscale-e2e', '-f', '-'], {
    input: JSON.stringify(list),
  })
}

/**
 * Makes sure that the cluster runs and finds out how to reach it.
 *
 * @returns what `readState` returns, as far as it is known now
 */
export async function reachCluster() {
  const earlier = readState()
  if (isForeign()) {
    return {
      kubeconfig: path.resolve(process.env['E2E_KUBECONFIG']),
      binaries: null,
      clusterFolder: null,
      startedCluster: false,
    }
  }
  const folder = clusterFolder()
  if (!existsSync(path.join(folder, 'up'))) {
    throw new Unready(
      `There is no test cluster at ${folder}. Name its folder in E2E_CLUSTER, or give any other cluster in ` +
        'E2E_KUBECONFIG and a registry that it pulls from in E2E_IMAGE_REGISTRY (docs/e2e.md).',
    )
  }
  const ran = isRunning(folder)
  // What it starts outlives this process, and so must not keep our temporary folder in its environment.
  const { TMPDIR: _, ...env } = process.env
  await run(path.join(folder, 'up'), [], { env, seconds: 2400, live: true })
  const { stdout } = spawnSync(
    'bash',
    ['-c', `eval "$("$1")"; printf '%s\\n%s\\n' "$KUBECONFIG" "$PATH"`, 'env', path.join(folder, 'env')],
    { encoding: 'utf8' },
  )
  const [kubeconfig, before] = stdout.split('\n')
  if (!kubeconfig || !before) throw new Unready(`${folder}/env does not say where the cluster is.`)
  return {
    kubeconfig,
    binaries: before.split(':')[0],
    clusterFolder: folder,
    startedCluster: !ran || (earlier?.startedCluster ?? false),
  }
}

function isRunning(folder) {
  const probe = `eval "$("$1")"; kubectl --request-timeout=5s get --raw /readyz`
  return spawnSync('bash', ['-c', probe, 'env', path.join(folder, 'env')], { stdio: 'ignore' }).status === 0
}

/** Where the test cluster keeps its process ids and certificates: beside its kubeconfig. */
export function runFolder(state) {
  return path.dirname(state.kubeconfig)
}
