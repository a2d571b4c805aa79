import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A process by its pid and when it began: the pid alone may have been given to another one since. */
export interface ProcessMark {
  readonly pid: number
  /** Opaque; equal for the same process only, also over a restart of the machine. */
  readonly start: string
}

/** What Linux tells of a process that runs. */
export interface ProcessStat {
  readonly pid: number
  /** What it does just now, as proc(5) has it: R runs, S sleeps, D waits for a disk, T is stopped. */
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly session: number
  readonly flags: number
  /** Clock ticks since the machine's boot. */
  readonly start: number
}

/**
 * Reads `/proc/<pid>/stat`. Undefined for a process that has ended, and where there is no /proc. A zombie has ended, unless
 * only its first thread has: its others go on (pthread_exit in `main`).
 */
export function readStat(pid: number): ProcessStat | undefined {
  let text: string
  try {
    // The name in brackets may be any bytes.
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // proc(5): pid (name) state ppid pgrp session tty_nr tpgid flags …; the name may hold blanks and brackets.
  const [state, ...fields] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [parent, group, session, , , flags] = fields.map(Number)
  const [threads, start] = [Number(fields[16]), Number(fields[18])]
  const hasEnded = state === 'X' || (state === 'Z' && !(threads > 1))
  if (state === undefined || hasEnded || !Number.isInteger(start)) return undefined
  return { pid, state, parent: parent!, group: group!, session: session!, flags: flags!, start }
}

let boot: string | undefined

/** The mark of a process whose stat was read. */
export function markOfStat({ pid, start }: ProcessStat): ProcessMark {
  boot ??= readBootId()
  return { pid, start: `${boot}:${start}` }
}

/** The mark of a process that runs, or undefined. */
export async function markOf(pid: number): Promise<ProcessMark | undefined> {
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  if (process.platform !== 'linux') return markByPs(pid)
  const stat = readStat(pid)
  return stat && markOfStat(stat)
}

/** Whether just this process still runs. */
export async function isRunning({ pid, start }: ProcessMark): Promise<boolean> {
  // Files of 0.1.0 have a slash there.
  return (await markOf(pid))?.start === start.replace('/', ':')
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return ''
  }
}

async function markByPs(pid: number): Promise<ProcessMark | undefined> {
  const asked = run('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env: { LC_ALL: 'C' } })
  const line = (await asked.catch(() => ({ stdout: '' }))).stdout.trim()
  return line === '' || line.startsWith('Z') ? undefined : { pid, start: line.replace(/^\S+\s+/, '') }
}
