import { access, constants, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A memory limit for one session's work, kept by a control group of its own. Host is not in it. */
export interface MemoryLimiter {
  /** The folder that stands for a session's group, whether it is there or not. */
  groupOf(sessionId: string): string
  /** Makes the group of a session; its folder. */
  create(sessionId: string): Promise<string>
  /** Puts a process, with all that it starts from now on, into the group. */
  add(group: string, pid: number): Promise<void>
  /** All pids in the group. */
  members(group: string): Promise<readonly number[]>
  /** Whether the system killed one of its processes for its memory. */
  oomKilled(group: string): Promise<boolean>
  /** Removes the group once it is empty; one that is gone is fine. */
  remove(group: string): Promise<void>
}

interface Hierarchy {
  readonly parent: string
  readonly limits: Readonly<Record<string, string>>
  readonly events: string
}

/**
 * A limiter where the system lets us make memory groups (cgroup v2, or v1 with its memory controller); undefined
 * elsewhere. It asks by making one.
 */
export async function findMemoryLimiter(limitBytes: number): Promise<MemoryLimiter | undefined> {
  if (process.platform !== 'linux') return undefined
  for (const hierarchy of await hierarchies(limitBytes)) {
    const limiter = limiterIn(hierarchy)
    try {
      await limiter.remove(await limiter.create(`probe-${process.pid}`))
      return limiter
    } catch {
      // Not ours to write, or a group with processes of its own, which v2 forbids to have such children.
    }
  }
  return undefined
}

async function hierarchies(limitBytes: number): Promise<Hierarchy[]> {
  const lines = (await readFile('/proc/self/cgroup', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'))
  const unified = lines.find(([id, controllers]) => id === '0' && controllers === '')?.[2]
  const memory = lines.find(([, controllers]) => controllers?.split(',').includes('memory'))?.[2]
  const found: Hierarchy[] = []
  if (unified !== undefined && (await readable('/sys/fs/cgroup/cgroup.controllers'))) {
    const limits = { 'memory.max': String(limitBytes), 'memory.swap.max': '0' }
    for (const parent of new Set([path.join('/sys/fs/cgroup', unified), '/sys/fs/cgroup'])) {
      await writeFile(path.join(parent, 'cgroup.subtree_control'), '+memory').catch(() => undefined)
      found.push({ parent, limits, events: 'memory.events' })
    }
  }
  if (memory !== undefined) {
    const limits = { 'memory.limit_in_bytes': String(limitBytes), 'memory.memsw.limit_in_bytes': String(limitBytes) }
    found.push({ parent: path.join('/sys/fs/cgroup/memory', memory), limits, events: 'memory.oom_control' })
  }
  return found
}

function limiterIn({ parent, limits, events }: Hierarchy): MemoryLimiter {
  const groupOf = (sessionId: string): string => path.join(parent, `cliscale-${sessionId}`)
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
    oomKilled: async (group) => {
      const text = await readFile(path.join(group, events), 'utf8').catch(() => '')
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0
    },
    remove: async (group) => {
      if (!path.basename(group).startsWith('cliscale-')) throw new TypeError(`${group} is not a group of ours`)
      for (let attempt = 1; ; attempt++) {
        try {
          for (const name of await childGroups(group)) await rmdir(path.join(group, name))
          return await rmdir(group)
        } catch (error) {
          const code = (error as NodeJS.ErrnoException).code
          if (code === 'ENOENT') return
          // A process that was just killed leaves its group a moment later.
          if (code !== 'EBUSY' || attempt === 20) throw error
          await sleep(25)
        }
      }
    },
  }
}

async function members(group: string): Promise<number[]> {
  const text = await readFile(path.join(group, 'cgroup.procs'), 'utf8').catch(() => '')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)
}

async function childGroups(group: string): Promise<string[]> {
  const entries = await readdir(group, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

function readable(file: string): Promise<boolean> {
  return access(file, constants.R_OK).then(
    () => true,
    () => false,
  )
}
