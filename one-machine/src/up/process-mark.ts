import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A process, known by its pid and when it began: a pid alone may have been given to another one since. */
export interface ProcessMark {
  readonly pid: number
  readonly start: string
}

/** The mark of a process that runs, or undefined. */
export async function markOf(pid: number): Promise<ProcessMark | undefined> {
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  const start = process.platform === 'linux' ? await startOnLinux(pid) : await startByPs(pid)
  return start === undefined ? undefined : { pid, start }
}

/** Whether just this process still runs. */
export async function isRunning(mark: ProcessMark): Promise<boolean> {
  return (await markOf(mark.pid))?.start === mark.start
}

/** Clock ticks since the machine's boot, with the boot's id: after a restart the same ticks mean another process. */
async function startOnLinux(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The name in brackets may hold blanks and brackets; the state follows it, and 19 fields on, the start (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[19] === undefined) return undefined
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
    return `${boot.trim()}/${fields[19]}`
  } catch {
    return undefined
  }
}

async function startByPs(pid: number): Promise<string | undefined> {
  const { stdout } = await run('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env: { LC_ALL: 'C' } }).catch(
    () => ({
      stdout: '',
    }),
  )
  const line = stdout.trim()
  return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '')
}
