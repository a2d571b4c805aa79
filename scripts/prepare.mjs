/** Makes a clone ready to run: the right Node, packages as the lock file has them, everything built. No dependencies. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { step } from './steps.mjs'

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const at = (...parts) => path.join(root, ...parts)

/** Thrown for what a person has to mend; its message is all that is shown. */
export class Unready extends Error {}

/** Installs and builds what is missing or stale. Two that start at once in one clone wait for each other. */
export async function prepare() {
  requireNode()
  await sayingWhatEndsIt(() =>
    oneAtATime(async () => {
      const why = whyInstall()
      if (why) await step(`Installing packages (${why})`, install)
      await step('Building', build)
    }),
  )
}

/** The program that runs just now for us. */
let running

/** A signal ends Node, and a step in the middle of its line, without a word. Here it is named first, and passed on. */
export async function sayingWhatEndsIt(run) {
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM']
  const onSignal = (signal) => {
    console.error(`\nStopped by ${signal} before it was ready.`)
    running?.kill(signal)
    for (const one of signals) process.off(one, onSignal)
    process.kill(process.pid, signal)
  }
  for (const one of signals) process.on(one, onSignal)
  try {
    await run()
  } finally {
    for (const one of signals) process.off(one, onSignal)
  }
}

/** @throws Unready when this Node is older than package.json allows. */
export function requireNode(version = process.versions.node) {
  const floor = readJson(at('package.json')).engines.node.replace('>=', '')
  if (compareVersions(version, floor) < 0) {
    throw new Unready(`CLI Scale needs Node ${floor} or newer; this is Node ${version}. Install it from nodejs.org.`)
  }
}

export function compareVersions(a, b) {
  const [left, right] = [a, b].map((v) => v.split('.').map(Number))
  for (let i = 0; i < 3; i++) if (left[i] !== right[i]) return left[i] - right[i]
  return 0
}

/** Why `npm ci` has to run, or undefined when node_modules holds what package-lock.json asks for. */
function whyInstall() {
  if (!existsSync(at('node_modules'))) return 'the first time this takes about a minute'
  const record = at('node_modules/.package-lock.json')
  if (!existsSync(record)) return 'an earlier installation was not finished'
  return lockMismatch(readJson(at('package-lock.json')), readJson(record))
}

/**
 * Compares the lock file with npm's own record of what it installed (node_modules/.package-lock.json). Optional
 * packages may be absent: they are other platforms' builds.
 */
export function lockMismatch(lock, installed) {
  for (const [name, wanted] of Object.entries(lock.packages)) {
    if (name === '' || !name.includes('node_modules/')) continue
    const found = installed.packages[name]
    if (found === undefined) {
      if (wanted.optional || wanted.devOptional || wanted.peer) continue
      return `${name.replace(/^.*node_modules\//, '')} is missing`
    }
    if (found.version !== wanted.version || found.integrity !== wanted.integrity) {
      return `${name.replace(/^.*node_modules\//, '')} has another version`
    }
  }
  return undefined
}

/** npm is run by its own file where we know it: on Windows and in odd PATHs `npm` is not a program. */
async function install() {
  const npm = process.env['npm_execpath']
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  if (npm?.endsWith('.js')) await quietly(process.execPath, [npm, ...args])
  else await quietly('npm', args)
}

async function build() {
  await quietly(process.execPath, [at('node_modules/typescript/bin/tsc'), '-b'])
  const programs = ['runner/src', 'service-kit/src', 'contract/src', 'scripts/build-runner.mjs', 'package-lock.json']
  if (isStale('runner/dist/programs/work.js', programs)) await node('scripts/build-runner.mjs')
  const page = ['web', 'client/src', 'contract/src', 'scripts/build-web.mjs', 'package-lock.json']
  if (isStale('ws-gateway/public/terminal.html', page)) await node('scripts/build-web.mjs')
}

function node(script) {
  return quietly(process.execPath, [at(script)])
}

/** Whether a built file has to be made again: it is missing, or something that it is made from is newer. */
function isStale(file, sources) {
  if (!existsSync(at(file))) return true
  const made = statSync(at(file)).mtimeMs
  return sources.some((source) => newest(at(source)) > made)
}

function newest(file) {
  const info = statSync(file)
  if (!info.isDirectory()) return info.mtimeMs
  const inside = readdirSync(file).filter((name) => name !== 'node_modules' && name !== 'dist')
  return Math.max(info.mtimeMs, ...inside.map((name) => newest(path.join(file, name))))
}

/** Runs a program and shows what it printed only when it fails. */
export async function quietly(command, args) {
  const child = (running = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] }))
  const printed = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => printed.push(chunk))
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => resolve(status ?? signal))
  }).finally(() => (running = undefined))
  if (code === 0) return
  const text = Buffer.concat(printed).toString().trim()
  throw new Unready(
    `${text}\n${path.basename(command)} ${args.map((a) => path.basename(a)).join(' ')} ended with ${code}.`,
  )
}

/** Installing twice at once in one folder breaks both; a lock of a process that has gone is taken over. */
export async function oneAtATime(run, folder = at('.cache')) {
  const file = path.join(folder, 'prepare.lock')
  let told = false
  for (;;) {
    const handle = await createLock(file)
    if (handle) {
      await handle.writeFile(String(process.pid))
      await handle.close()
      break
    }
    if (!isHeld(file)) await rm(file, { force: true })
    else if (!told) console.log('  Waiting for another start in this folder')
    told = true
    await sleep(300)
  }
  try {
    await run()
  } finally {
    await rm(file, { force: true })
  }
}

/** Undefined when it is there. @throws Unready in a clone of somebody else. */
async function createLock(file) {
  try {
    mkdirSync(path.dirname(file), { recursive: true })
    return await open(file, 'wx')
  } catch (error) {
    if (error.code === 'EEXIST' && error.syscall === 'open') return undefined
    throw new Unready(`This clone cannot be written to (${error.message}). Start it as the user whom it belongs to.`)
  }
}

function isHeld(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'))
    // A lock without a pid is being written just now, unless it is older than that could take.
    if (!(pid > 0)) return Date.now() - statSync(file).mtimeMs < 5_000
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'))
}

/** Runs a script's main function: an Unready is one message without a stack, and no end goes unsaid. */
export function runScript(main) {
  let isDone = false
  // Node ends with 0 and without a word when nothing is left that a promise could wait for.
  process.once('beforeExit', () => {
    if (isDone) return
    console.error('\nEnded before it was finished: what it was waiting for can no longer happen. Run it again.')
    process.exitCode = 1
  })
  main()
    .catch((error) => {
      console.error(error instanceof Unready ? error.message : (refusal(error) ?? error))
      process.exitCode = 1
    })
    .finally(() => (isDone = true))
}

/** Loading our own files is the first thing for which a system's limit is too low: there is no product yet to say it. */
function refusal(error) {
  if (error?.code !== 'EMFILE') return undefined
  return 'CLI Scale cannot start, because it may not open enough files. Raise the limit with: ulimit -n 4096'
}
