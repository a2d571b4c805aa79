import { execFile } from 'node:child_process'
import { readFile, readdir, readlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Stops the server that an earlier process of ours left behind on this data, and what a killed server left of itself. */
export async function stopLeftovers(data: string): Promise<void> {
  const text = await readFile(`${data}/postmaster.pid`, 'utf8').catch(() => '')
  const pid = Number(text.split('\n')[0])
  if (Number.isInteger(pid) && pid > 1 && (await isServerOn(data, pid))) await stopProcess(pid)
  await stopBackends(data)
}

/** A pid may have been given to another program since; ours carries its data folder in its command line. */
async function isServerOn(data: string, pid: number): Promise<boolean> {
  const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return stdout.includes('postgres') && stdout.includes(data)
}

/**
 * Backends whose server was killed end by themselves as soon as they look, and until then hold the shared memory that
 * a new server needs. They are known by their working folder, which is the data folder (Linux).
 */
async function stopBackends(data: string): Promise<void> {
  for (const [signal, patienceMs] of [
    [undefined, 2_000],
    ['SIGQUIT', 3_000],
    ['SIGKILL', 5_000],
  ] as const) {
    const deadline = Date.now() + patienceMs
    for (let pids = await processesIn(data); pids.length > 0; pids = await processesIn(data)) {
      if (signal !== undefined) for (const pid of pids) kill(pid, signal)
      if (Date.now() > deadline) break
      await sleep(50)
    }
  }
}

async function processesIn(folder: string): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid > 1)
  const inside = await Promise.all(
    pids.map(async (pid) => {
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      if (cwd !== folder) return false
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes('postgres')
    }),
  )
  return pids.filter((_, i) => inside[i])
}

/** Ends a server: fast shutdown first, then harder ones. Resolves when it has gone. */
export async function stopProcess(pid: number): Promise<void> {
  for (const [signal, patienceMs] of [
    ['SIGINT', 20_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    if (!kill(pid, signal)) return
    for (let waited = 0; waited < patienceMs; waited += 20) {
      if (!kill(pid, 0)) return
      await sleep(20)
    }
  }
}

/** Whether there was a process to signal. */
function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
