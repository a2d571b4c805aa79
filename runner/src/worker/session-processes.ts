import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** Whose processes are meant. Each one given widens the search. */
export interface SessionProcesses {
  readonly sessionId: string
  /** Leader of the terminal's session (its pid is the id of that session and of its first process group). */
  readonly leader?: number | undefined
  /** The terminal; who has it open belongs to the session. By device and inode: containers have equal paths. */
  readonly tty?: { readonly path: string; readonly dev: number; readonly ino: number } | undefined
  /**
   * What has this socket of work in its environment is spared, as is this process: the session's host. A command that
   * copies it escapes this sweep, but not the launcher's, nor the end of its container.
   */
  readonly spareWorkSocket?: string | undefined
}

/** Pids of a session's processes that are alive, also those that left its process group. */
export async function findSessionProcesses(target: SessionProcesses): Promise<number[]> {
  if (process.platform !== 'linux') return findByPs(target)
  const names = await readdir('/proc')
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number)
  const hits = await Promise.all(
    pids.map(async (pid) => pid !== process.pid && pid !== process.ppid && (await belongs(pid, target))),
  )
  return pids.filter((_, i) => hits[i])
}

/** Sends a signal to each; one that is gone meanwhile is no fault. */
function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // gone already, or not ours to signal
    }
  }
}

/** Asks all of a session's processes to end, also those that are stopped. */
export async function askSessionToEnd(target: SessionProcesses): Promise<void> {
  const pids = await findSessionProcesses(target)
  signalAll(pids, 'SIGTERM')
  signalAll(pids, 'SIGCONT')
}

/**
 * Waits until a session has no processes, at most until `killAtMs` (a time); then SIGKILL until nothing is found, for
 * at most 5 s. Resolves to the number of processes that were still there.
 */
export async function endSessionProcesses(target: SessionProcesses, killAtMs: number): Promise<number> {
  let left = await findSessionProcesses(target)
  while (left.length > 0 && Date.now() < killAtMs) {
    await sleep(20)
    left = await findSessionProcesses(target)
  }
  for (const until = Date.now() + 5000; left.length > 0 && Date.now() < until;) {
    // Stopped first, so that a fork bomb does not outrun the kills.
    signalAll(left, 'SIGSTOP')
    signalAll(left, 'SIGKILL')
    await sleep(10)
    left = await findSessionProcesses(target)
  }
  return left.length
}

async function belongs(pid: number, target: SessionProcesses): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  // pid (comm) state ppid pgrp session …; comm may hold spaces and brackets.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  if (line === '' || fields[0] === 'Z' || fields[0] === 'X') return false
  const environ = (await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')).split('\0')
  if (target.spareWorkSocket !== undefined && environ.includes(`CLISCALE_WORK_SOCKET=${target.spareWorkSocket}`))
    return false
  if (environ.includes(`CLISCALE_SESSION_ID=${target.sessionId}`)) return true
  if (target.leader !== undefined && Number(fields[3]) === target.leader) return true
  return target.tty !== undefined && (await hasOpen(pid, target.tty))
}

async function hasOpen(pid: number, file: { dev: number; ino: number }): Promise<boolean> {
  const found = await Promise.all([0, 1, 2].map((fd) => stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined)))
  return found.some((one) => one?.dev === file.dev && one.ino === file.ino)
}

/** Elsewhere the environment of others cannot be read: by process group and terminal. */
function findByPs(target: SessionProcesses): Promise<number[]> {
  return new Promise((resolve) => {
    execFile('ps', ['-axo', 'pid=,pgid=,tty=,stat='], { timeout: 5000 }, (error, stdout) => {
      const rows = error ? [] : stdout.split('\n').map((line) => line.trim().split(/\s+/))
      resolve(
        rows
          .filter(([pid, pgid, tty, stat]) => {
            if (Number(pid) === process.pid || stat?.startsWith('Z')) return false
            return Number(pgid) === target.leader || (tty !== undefined && `/dev/${tty}` === target.tty?.path)
          })
          .map(([pid]) => Number(pid)),
      )
    })
  })
}
