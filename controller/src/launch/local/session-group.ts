import { spawn } from 'node:child_process'
import { access, constants, mkdir, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where cgroup v2 is mounted: alone, or beside v1. */
const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
/** A group without processes counts as left behind after this time; a session's first process follows its group at once. */
const LEFT_AFTER_MS = 60 * 60 * 1000
const PREFIX = 'cliscale-'
/** How many groups within a session's are looked at in one go: whoever may make them may make many. */
const MAX_STEPS = 20_000

/**
 * A control group for each session's work and all that it starts, which nothing leaves without privileges; it may keep a
 * memory limit. Host is not in it.
 */
export interface SessionGroups {
  /** The folder that stands for a session's group, whether it is there or not. */
  groupOf(sessionId: string): string
  /** Makes the group of a session; its folder. */
  create(sessionId: string): Promise<string>
  /** Puts a process, with all that it starts from now on, into the group. */
  add(group: string, pid: number): Promise<void>
  /** All pids in the group. */
  members(group: string): Promise<readonly number[]>
  /** Kills everything in it at once, where the system can; what is left is to be killed one by one. */
  kill(group: string): Promise<void>
  /** Whether the system killed one of its processes for its memory. */
  oomKilled(group: string): Promise<boolean>
  /** Removes the group once it is empty; one that is gone is fine. */
  remove(group: string): Promise<void>
  /**
   * Removes groups without a process that have been there for an hour: of servers that were killed between two steps, or
   * lost their data folder. A session that runs has its work in its group, whichever server's it is.
   */
  sweep(): Promise<void>
}

interface Hierarchy {
  readonly parent: string
  readonly limits: Readonly<Record<string, string>>
  readonly events: string
}

/**
 * Groups where the system lets us make them: cgroup v2 (root, or a user whose part of the tree is its own, as below a
 * systemd user manager), or for a memory limit also v1; undefined elsewhere. It asks by making one.
 */
export async function findSessionGroups(memoryMaxBytes: number | undefined): Promise<SessionGroups | undefined> {
  if (process.platform !== 'linux') return undefined
  for (const hierarchy of await hierarchies(memoryMaxBytes)) {
    const groups = groupsIn(hierarchy)
    try {
      const probe = await groups.create(`probe-${process.pid}`)
      try {
        if (memoryMaxBytes === undefined) await probeWithProcess(groups, probe)
      } finally {
        await groups.remove(probe)
      }
      return groups
    } catch {
      // Not ours to write, or a group with processes of its own, which v2 forbids to have children with limits.
    }
  }
  return undefined
}

/** A folder that can be made is not yet one that a process can be put into. */
async function probeWithProcess(groups: SessionGroups, group: string): Promise<void> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
  try {
    await groups.add(group, child.pid!)
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

async function hierarchies(limitBytes: number | undefined): Promise<Hierarchy[]> {
  const lines = (await readFile('/proc/self/cgroup', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'))
  const unified = lines.find(([id, controllers]) => id === '0' && controllers === '')?.[2]
  const memory = lines.find(([, controllers]) => controllers?.split(',').includes('memory'))?.[2]
  const found: Hierarchy[] = []
  for (const mount of unified === undefined ? [] : V2_MOUNTS) {
    if (!(await readable(path.join(mount, 'cgroup.controllers')))) continue
    const limits: Record<string, string> =
      limitBytes === undefined ? {} : { 'memory.max': String(limitBytes), 'memory.swap.max': '0' }
    for (const parent of new Set([path.join(mount, unified!), mount])) {
      if (limitBytes !== undefined)
        await writeFile(path.join(parent, 'cgroup.subtree_control'), '+memory').catch(() => undefined)
      found.push({ parent, limits, events: 'memory.events' })
    }
  }
  if (memory !== undefined && limitBytes !== undefined) {
    const limits = { 'memory.limit_in_bytes': String(limitBytes), 'memory.memsw.limit_in_bytes': String(limitBytes) }
    found.push({ parent: path.join('/sys/fs/cgroup/memory', memory), limits, events: 'memory.oom_control' })
  }
  return found
}

function groupsIn({ parent, limits, events }: Hierarchy): SessionGroups {
  const groupOf = (sessionId: string): string => path.join(parent, `${PREFIX}${sessionId}`)
  return {
    groupOf,
    create: async (sessionId) => {
      const group = groupOf(sessionId)
      await mkdir(group, { recursive: true })
      for (const [index, [file, value]] of Object.entries(limits).entries()) {
        // The first one is the limit; the others narrow swap, which a kernel may not account for.
        await writeFile(path.join(group, file), value).catch(async (error: unknown) => {
          if (index > 0) return
          await rmdir(group)
          throw error
        })
      }
      return group
    },
    add: (group, pid) => writeFile(path.join(group, 'cgroup.procs'), String(pid)),
    members: (group) => members(group),
    // Since Linux 5.14; it takes all at once, so that nothing can fork away.
    kill: (group) => writeFile(path.join(group, 'cgroup.kill'), '1').catch(() => undefined),
    oomKilled: async (group) => {
      const text = await readFile(path.join(group, events), 'utf8').catch(() => '')
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0
    },
    remove: async (group) => {
      if (!path.basename(group).startsWith(PREFIX)) throw new TypeError(`${group} is not a group of ours`)
      for (let attempt = 1; ; attempt++) {
        try {
          return await removeDeepestFirst(group)
        } catch (error) {
          const code = (error as NodeJS.ErrnoException).code
          // A process that was just killed leaves its group a moment later.
          if (code !== 'EBUSY' || attempt === 20) throw error
          await sleep(25)
        }
      }
    },
    sweep: async () => {
      for (const group of await childGroups(parent)) if (await isLeft(group)) await removeDeepestFirst(group)
    },
  }
}

async function isLeft(group: string): Promise<boolean> {
  if (!path.basename(group).startsWith(PREFIX)) return false
  const age = Date.now() - ((await stat(group).catch(ignoreAbsence))?.mtimeMs ?? Infinity)
  return age > LEFT_AFTER_MS && (await members(group)).length === 0
}

/** Those of groups that a program made within it are among them. */
async function members(group: string): Promise<number[]> {
  const pids: number[] = []
  const open = [group]
  for (let looked = 0; open.length > 0 && looked < MAX_STEPS; looked++) {
    const next = open.pop()!
    const text = await readFile(path.join(next, 'cgroup.procs'), 'utf8').catch(() => '')
    for (const line of text.split('\n')) if (line !== '') pids.push(Number(line))
    open.push(...(await childGroups(next)))
  }
  return pids
}

/** A program with the rights may have nested groups of its own, and a group goes only when it holds none. */
async function removeDeepestFirst(group: string): Promise<void> {
  const open = [group]
  for (let steps = 0; open.length > 0; steps++) {
    // Each try removes some.
    if (steps === MAX_STEPS) throw new Error(`${group} holds more groups than are removed at once`)
    const children = await childGroups(open.at(-1)!)
    if (children.length > 0) open.push(...children)
    else await rmdir(open.pop()!).catch(ignoreAbsence)
  }
}

/** Folders of the groups right below; none of a group that is gone. */
async function childGroups(group: string): Promise<string[]> {
  const entries = (await readdir(group, { withFileTypes: true }).catch(ignoreAbsence)) ?? []
  return entries.filter((entry) => entry.isDirectory()).map((entry) => path.join(group, entry.name))
}

function ignoreAbsence(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

function readable(file: string): Promise<boolean> {
  return access(file, constants.R_OK).then(
    () => true,
    () => false,
  )
}
