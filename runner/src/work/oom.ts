import { readFile } from 'node:fs/promises'

/**
 * How often the system ended a process of this container's cgroup (v2) for want of memory; 0 where it cannot be told,
 * and where the cgroup is shared with others, as on one machine, so that nobody else's kill is taken for ours.
 */
export async function countOomKills(cgroup = '/sys/fs/cgroup', self = '/proc/self/cgroup'): Promise<number> {
  try {
    // In a cgroup namespace of its own, as containers have, the own cgroup is the root.
    if (!(await readFile(self, 'utf8')).split('\n').includes('0::/')) return 0
    const events = await readFile(`${cgroup}/memory.events`, 'utf8')
    return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0)
  } catch {
    return 0
  }
}
