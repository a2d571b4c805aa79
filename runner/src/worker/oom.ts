import { readFile } from 'node:fs/promises'

/** Where Linux tells of cgroups; another folder in tests. */
export interface CgroupFiles {
  /** Mount of the cgroup file systems. */
  readonly mount: string
  /** Of this process: `cgroup` and `mountinfo`. */
  readonly self: string
}

const SYSTEM: CgroupFiles = { mount: '/sys/fs/cgroup', self: '/proc/self' }

/**
 * How often the system ended a process of this container's cgroup (version 1 or 2) for want of memory; 0 where it cannot
 * be told, and where the cgroup is shared with others, as on one machine, so that nobody else's kill is taken for ours.
 */
export async function countOomKills(files: CgroupFiles = SYSTEM): Promise<number> {
  try {
    const events = await readFile(await eventsFile(files), 'utf8')
    return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Throws where the own cgroup is not a container's. */
async function eventsFile({ mount, self }: CgroupFiles): Promise<string> {
  const lines = (await readFile(`${self}/cgroup`, 'utf8')).split('\n')
  const own = lines.map((line) => /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.+)$/.exec(line)?.[1]).find(Boolean)
  if (own === undefined) {
    // Version 2: in a cgroup namespace of its own, as containers have, the own cgroup is the root.
    if (!lines.includes('0::/')) throw new Error('the cgroup is shared')
    return `${mount}/memory.events`
  }
  // Version 1: a container's mount shows its own cgroup only.
  const mounts = (await readFile(`${self}/mountinfo`, 'utf8')).split('\n').map((line) => line.split(' '))
  const root = mounts.findLast((fields) => fields[4] === `${mount}/memory`)?.[3]
  const isContainer = root !== undefined && (own === root ? root !== '/' : own === '/' && root !== '/')
  if (!isContainer) throw new Error('the cgroup is shared')
  return `${mount}/memory/memory.oom_control`
}
