import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { constants, uptime } from 'node:os'
import path from 'node:path'
import { carriesTag, sessionTag } from '@cliscale/contract'
import { type ProcessStat, readStat } from '@cliscale/service-kit/process-mark'

/** Whose processes are meant. Each one given widens the search. */
export interface SessionProcesses {
  readonly sessionId: string
  /**
   * Leader of the terminal's session: its pid is the id of that session and of its first process group, until another
   * process gets it. Its start is undefined when it had ended before anybody looked, and where there is no /proc.
   */
  readonly leader?: { readonly pid: number; readonly start: number | undefined } | undefined
  /** The terminal; who has it open belongs to the session. By device and inode: containers have equal paths. */
  readonly tty?: { readonly path: string; readonly dev: number; readonly ino: number } | undefined
  /**
   * What has this socket of work in its environment is spared, as is this process: the session's host. What a command
   * started carries the session's tag, and is not spared whatever it copies.
   */
  readonly spareWorkSocket?: string | undefined
}

/** What SIGTERM does to a process. */
export type OnTerm = 'ends' | 'handles' | 'ignores'

export interface SessionProcess {
  readonly pid: number
  /** When it was started, in clock ticks (10 ms) since the boot; it tells whether a pid was given to another since. */
  readonly start: number
  readonly parent: number
  readonly onTerm: OnTerm
  /** It ignores SIGTERM and the signals of job control, as interactive shells do. */
  readonly isShell: boolean
  /** It does nothing but wait for a child to end, or may. False for one at work. */
  readonly waits: boolean
  /** The pipe that is its standard input, and those that are its standard output or error. */
  readonly reads: string | undefined
  readonly writes: readonly string[]
  /** Bytes that it has read in all, of anything: 0 for one that reads no pipe, and where that is not told. */
  readonly readBytes: number
}

/** Flag of a kernel thread (include/linux/sched.h): often more than half of what is in /proc. */
const PF_KTHREAD = 0x00200000
/** How long a process that was not the session's is not looked at again; it may have died, and its pid be another's. */
const FOREIGN_MS = 1000

/**
 * Looks for the processes of a session, again and again: what is not the session's is not looked at each time. On Linux
 * it reads /proc in one go, without waiting: it takes milliseconds however busy the machine is, and what is read of a
 * pid is of one process.
 */
export class ProcessList {
  readonly #target: SessionProcesses
  #foreign = new Set<number>()
  #foreignSinceMs = 0
  /** The leader's pid was given to another process: a session of that id is a stranger's. */
  #isReused = false
  /** This system tells where a process stands in its kernel. */
  #tellsPlaces = false

  constructor(target: SessionProcesses) {
    this.#target = target
  }

  /** Those that are alive, also ones that left the process group. `anew`: every process of the system is looked at. */
  async find(anew = false): Promise<SessionProcess[]> {
    if (process.platform !== 'linux') return findByPs(this.#target)
    if (anew || Date.now() - this.#foreignSinceMs > FOREIGN_MS) {
      this.#foreign = new Set([process.pid, process.ppid])
      this.#foreignSinceMs = Date.now()
    }
    const pids = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
    const stats = pids
      .filter((pid) => !this.#foreign.has(pid))
      .map(readStat)
      .filter((one) => one !== undefined)
    const target = this.#trusted()
    const members = stats.filter((one) => belongs(one, target) && isStill(one))
    const family = withDescendants(stats, members)
    for (const { pid } of stats) if (!family.has(pid)) this.#foreign.add(pid)
    return stats.filter(({ pid }) => family.has(pid)).map((one) => this.#describe(one))
  }

  #describe({ pid, parent, start, state }: ProcessStat): SessionProcess {
    const writes = [pipeOf(pid, 1), pipeOf(pid, 2)].filter((pipe) => pipe !== undefined)
    const waits = this.#waitsForChild(state, readText(pid, 'wchan')) || (state !== 'R' && isShellProgram(pid))
    const reads = pipeOf(pid, 0)
    const readBytes = reads === undefined ? 0 : readBytesOf(pid)
    return { pid, parent, start, ...readSignals(pid), waits, reads, writes, readBytes }
  }

  /**
   * By the function of the kernel that it stands in. Nothing or 0 is of one that stands in none, or may not be asked; it
   * may have begun to run after its state was read. Where no place is ever told, what sleeps may be waiting for a child.
   */
  #waitsForChild(state: string, place: string): boolean {
    const isTold = place !== '' && place !== '0'
    this.#tellsPlaces ||= isTold
    if (isTold) return place === 'do_wait'
    return state === 'S' && !this.#tellsPlaces
  }

  /** The target, without a leader whose pid another process has. While any of a session is left, its id is not given away. */
  #trusted(): SessionProcesses {
    const { leader } = this.#target
    if (leader === undefined) return this.#target
    const start = startOf(leader.pid)
    this.#isReused ||= start !== undefined && start !== leader.start
    return this.#isReused ? { ...this.#target, leader: undefined } : this.#target
  }
}

/** When a process was started; undefined for one that has ended, and where there is no /proc. */
export function startOf(pid: number): number | undefined {
  return readStat(pid)?.start
}

/** Now, on the clock of `start`. */
export function nowTicks(): number {
  return Math.floor(uptime() * 100)
}

/** Whether it is still this process that has the pid. */
export function isStill({ pid, start }: Pick<SessionProcess, 'pid' | 'start'>): boolean {
  return process.platform !== 'linux' || readStat(pid)?.start === start
}

function belongs({ pid, session, flags }: ProcessStat, target: SessionProcesses): boolean {
  if ((flags & PF_KTHREAD) !== 0) return false
  if (target.leader !== undefined && session === target.leader.pid) return true
  if (carriesTag(readText(pid, 'limits'), sessionTag(target.sessionId))) return true
  const environ = readText(pid, 'environ').split('\0')
  if (target.spareWorkSocket !== undefined && environ.includes(`CLISCALE_WORK_SOCKET=${target.spareWorkSocket}`))
    return false
  if (environ.includes(`CLISCALE_SESSION_ID=${target.sessionId}`)) return true
  return target.tty !== undefined && hasOpen(pid, target.tty)
}

/** Pids of these and of all that they started. */
function withDescendants(all: readonly ProcessStat[], members: readonly ProcessStat[]): Set<number> {
  const family = new Set(members.map(({ pid }) => pid))
  for (let before = -1; before !== family.size;) {
    before = family.size
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid)
  }
  return family
}

const SHELLS = new Set(['sh', 'bash', 'dash', 'ash', 'ksh', 'ksh93', 'mksh', 'zsh'])

/**
 * A shell runs its trap when its child is gone, wherever it waits for that: `$(…)` reads a pipe, and `wait` in dash waits
 * for a signal. The name of a process that runs a script is the script's.
 */
function isShellProgram(pid: number): boolean {
  const program = path.basename(programOf(pid)).replace(/( \(deleted\)|-[\d.]+)$/, '')
  if (program !== 'busybox') return SHELLS.has(program)
  // As `sh script`, or as `busybox sh script`.
  const [called = '', applet = ''] = readText(pid, 'cmdline').split('\0')
  return [called, applet].some((name) => SHELLS.has(path.basename(name).replace(/^-/, '')))
}

function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return '' // gone, or not ours to look at
  }
}

const { SIGTERM, SIGTTOU } = constants.signals

/**
 * How a process takes SIGTERM. One that blocks it waits for it in its own way, but for a shell, which blocks it for the
 * moment in which it starts a program.
 */
function readSignals(pid: number): Pick<SessionProcess, 'onTerm' | 'isShell'> {
  const status = readText(pid, 'status')
  const has = (set: string, signal: number): boolean => {
    const mask = BigInt(`0x${new RegExp(`^${set}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`)
    return ((mask >> BigInt(signal - 1)) & 1n) === 1n
  }
  if (has('SigIgn', SIGTERM)) return { onTerm: 'ignores', isShell: has('SigIgn', SIGTTOU) }
  const handles = has('SigCgt', SIGTERM) || (has('SigBlk', SIGTERM) && !isShellProgram(pid))
  return { onTerm: handles ? 'handles' : 'ends', isShell: false }
}

function readBytesOf(pid: number): number {
  return Number(/^rchar: (\d+)$/m.exec(readText(pid, 'io'))?.[1] ?? 0)
}

function pipeOf(pid: number, fd: number): string | undefined {
  const file = fileOf(pid, fd)
  return file?.isFIFO() ? `${file.dev}:${file.ino}` : undefined
}

function hasOpen(pid: number, { dev, ino }: { dev: number; ino: number }): boolean {
  return [0, 1, 2].map((fd) => fileOf(pid, fd)).some((file) => file?.dev === dev && file.ino === ino)
}

function fileOf(pid: number, fd: number) {
  try {
    return statSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return undefined // gone, closed, or not ours to look at
  }
}

function readText(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return '' // gone, or not ours to read
  }
}

/** Elsewhere the environment, limits and signals of others cannot be read: by process group and terminal. */
function findByPs(target: SessionProcesses): Promise<SessionProcess[]> {
  return new Promise((resolve) => {
    execFile('ps', ['-axo', 'pid=,ppid=,pgid=,tty=,stat='], { timeout: 5000 }, (error, stdout) => {
      const rows = error ? [] : stdout.split('\n').map((line) => line.trim().split(/\s+/))
      resolve(
        rows
          .filter(([pid, , pgid, tty, state]) => {
            if (Number(pid) === process.pid || state?.startsWith('Z')) return false
            return Number(pgid) === target.leader?.pid || (tty !== undefined && `/dev/${tty}` === target.tty?.path)
          })
          .map(([pid, parent]) => ({
            pid: Number(pid),
            parent: Number(parent),
            start: 0,
            onTerm: 'ends',
            isShell: false,
            waits: true,
            reads: undefined,
            writes: [],
            readBytes: 0,
          })),
      )
    })
  })
}
