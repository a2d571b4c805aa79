import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { carriesTag, sessionTag } from '@cliscale/contract'
import { markOfStat, type ProcessMark, type ProcessStat, readStat } from '@cliscale/service-kit/process-mark'

const run = promisify(execFile)

/** How to tell a session's processes from all others. */
export interface SessionMark {
  readonly sessionId: string
  /** Programs of ours whose command line ends with the session's id; used where environments can't be read. */
  readonly programs: readonly string[]
}

/** What this machine runs. */
export interface ProcessTable {
  /** The mark of a running process; undefined when it has ended (a zombie has). */
  find(pid: number): Promise<ProcessMark | undefined>
  /** Which of these still run. */
  alive(marks: readonly ProcessMark[]): Promise<ReadonlySet<number>>
  /** Processes of one of our programs for a session: `<program> <sessionId>` ends their command line. */
  ofProgram(program: string, sessionId: string): Promise<readonly ProcessMark[]>
  /**
   * Everything that belongs to a session: processes that carry its tag, or its id in their environment, their
   * descendants, and members of their process groups and sessions. Never this process or one that it descends from.
   */
  ofSession(session: SessionMark): Promise<readonly ProcessMark[]>
}

/** The table of this system: /proc on Linux, ps elsewhere. */
export function createProcessTable(): ProcessTable {
  return process.platform === 'linux' ? linuxTable() : psTable()
}

/** Sends a signal to exactly this process. Returns whether there was one. */
export async function signalProcess(table: ProcessTable, mark: ProcessMark, signal: NodeJS.Signals): Promise<boolean> {
  if (mark.pid <= 1 || mark.pid === process.pid) return false
  if ((await table.find(mark.pid))?.start !== mark.start) return false
  try {
    process.kill(mark.pid, signal)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Who started whom, and with whom it belongs together. */
type Relations = Pick<ProcessStat, 'pid' | 'parent' | 'group' | 'session'>

/** It reads without waiting: what is read of a pid is of one process, and the pid is that one's when it is signalled. */
function linuxTable(): ProcessTable {
  const find = (pid: number): ProcessMark | undefined => {
    const stat = readStat(pid)
    return stat && markOfStat(stat)
  }
  return {
    find: (pid) => Promise.resolve(find(pid)),
    alive: (marks) =>
      Promise.resolve(new Set(marks.filter(({ pid, start }) => find(pid)?.start === start).map(({ pid }) => pid))),
    ofProgram: (program, sessionId) => {
      const isOne = ({ pid }: ProcessStat) =>
        `\0${readText(`/proc/${pid}/cmdline`)}`.endsWith(`\0${program}\0${sessionId}\0`)
      return Promise.resolve(allStats().filter(isOne).map(markOfStat))
    },
    ofSession: ({ sessionId }) => {
      const stats = allStats()
      const marked = stats.filter(({ pid, start }) => carriesSession(pid, sessionId) && readStat(pid)?.start === start)
      return Promise.resolve(familyOf(stats, new Set(marked.map(({ pid }) => pid))).map(markOfStat))
    },
  }
}

function allStats(): ProcessStat[] {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return pids.map(readStat).filter((stat) => stat !== undefined)
}

function carriesSession(pid: number, sessionId: string): boolean {
  if (carriesTag(readText(`/proc/${pid}/limits`), sessionTag(sessionId))) return true
  return `\0${readText(`/proc/${pid}/environ`)}`.includes(`\0CLISCALE_SESSION_ID=${sessionId}\0`)
}

/** '' for what is gone or not ours to read. latin1: an environment is bytes; what we look for is ASCII. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

/** The marked processes, their descendants, and all in a process group or session that one of them leads. */
function familyOf<T extends Relations>(stats: readonly T[], marked: Set<number>): T[] {
  const spared = ancestorsOf(process.pid, stats)
  const family = new Set([...marked].filter((pid) => !spared.has(pid)))
  for (let grown = true; grown;) {
    grown = false
    for (const stat of stats) {
      if (family.has(stat.pid) || spared.has(stat.pid)) continue
      if (!family.has(stat.parent) && !family.has(stat.group) && !family.has(stat.session)) continue
      family.add(stat.pid)
      grown = true
    }
  }
  return stats.filter((stat) => family.has(stat.pid))
}

function ancestorsOf(pid: number, stats: readonly Relations[]): Set<number> {
  const parents = new Map(stats.map((stat) => [stat.pid, stat.parent]))
  const line = new Set([1])
  for (let at: number | undefined = pid; at !== undefined && at > 0 && !line.has(at); at = parents.get(at)) line.add(at)
  return line
}

function psTable(): ProcessTable {
  const rows = async (args: readonly string[]): Promise<string[]> => {
    // ps exits 1 when none of the pids is there.
    const { stdout } = await run('ps', [...args], { maxBuffer: 16 * 1024 * 1024, env: { LC_ALL: 'C' } }).catch(
      (error: { code?: unknown; stdout?: string }) => {
        if (error.code === 1) return { stdout: error.stdout ?? '' }
        throw error
      },
    )
    return stdout.split('\n').filter((line) => line.trim() !== '')
  }
  const marks = async (pids: readonly number[]): Promise<ProcessMark[]> => {
    if (pids.length === 0) return []
    const lines = await rows(['-o', 'pid=,stat=,lstart=', '-p', pids.join(',')])
    return lines.flatMap((line) => {
      const match = /^\s*(\d+)\s+(\S+)\s+(.*?)\s*$/.exec(line)
      return match === null || match[2]!.startsWith('Z') ? [] : [{ pid: Number(match[1]), start: match[3]! }]
    })
  }
  const everything = async (): Promise<PsRow[]> =>
    (await rows(['-axo', 'pid=,ppid=,pgid=,stat=,lstart=,command='])).flatMap(parsePsLine)
  return {
    find: async (pid) => (await marks([pid]))[0],
    alive: async (wanted) => {
      const found = new Map((await marks(wanted.map((mark) => mark.pid))).map((mark) => [mark.pid, mark.start]))
      return new Set(wanted.filter((mark) => found.get(mark.pid) === mark.start).map((mark) => mark.pid))
    },
    ofProgram: async (program, sessionId) =>
      (await everything())
        .filter((row) => row.command.endsWith(`${program} ${sessionId}`))
        .map(({ stat }) => ({ pid: stat.pid, start: stat.start })),
    ofSession: async ({ sessionId, programs }) => {
      const parsed = await everything()
      const ours = (command: string): boolean => programs.some((program) => command.endsWith(`${program} ${sessionId}`))
      const family = familyOf(
        parsed.map((row) => row.stat),
        new Set(parsed.filter((row) => ours(row.command)).map((row) => row.stat.pid)),
      )
      return family.map((stat) => ({ pid: stat.pid, start: stat.start }))
    },
  }
}

interface PsRow {
  readonly stat: Relations & Pick<ProcessMark, 'start'>
  readonly command: string
}

function parsePsLine(line: string): PsRow[] {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/.exec(line)
  if (match === null || match[4]!.startsWith('Z')) return []
  const [, pid, parent, group, , start, command] = match as unknown as string[]
  const stat = {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: 0,
    start: start!,
  }
  return [{ stat, command: command! }]
}
