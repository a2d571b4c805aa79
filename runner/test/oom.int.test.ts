import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { countOomKills } from '../src/worker/oom.ts'

const POD = '/kubepods/burstable/pod1/2f8e'

/** What a process sees of its cgroup; `%` stands for the mount point. */
async function count(seen: { cgroup: string; mountinfo?: string; files: Record<string, string> }): Promise<number> {
  const mount = mkdtempSync(path.join(os.tmpdir(), 'cs-cgroup-'))
  try {
    const self = path.join(mount, 'self')
    for (const [name, text] of Object.entries({
      'self/cgroup': seen.cgroup,
      'self/mountinfo': (seen.mountinfo ?? '').replaceAll('%', mount),
      ...seen.files,
    })) {
      mkdirSync(path.dirname(path.join(mount, name)), { recursive: true })
      writeFileSync(path.join(mount, name), text)
    }
    return await countOomKills({ mount, self })
  } finally {
    rmSync(mount, { recursive: true })
  }
}

const v1 = (root: string): string =>
  `180 179 0:74 / % rw - tmpfs tmpfs rw\n184 180 0:32 ${root} %/memory ro,nosuid - cgroup cgroup rw,memory\n`
const control = { 'memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n' }
const events = { 'memory.events': 'low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n' }

test.each([
  ['version 2, in a container', { cgroup: '0::/\n', files: events }, 2],
  ['version 2, shared with others', { cgroup: '0::/user.slice/session-1.scope\n', files: events }, 0],
  ['version 1, in a container', { cgroup: `4:memory:${POD}\n0::${POD}\n`, mountinfo: v1(POD), files: control }, 3],
  [
    'version 1, with controllers together',
    { cgroup: `3:cpu,memory,pids:${POD}\n`, mountinfo: v1(POD), files: control },
    3,
  ],
  [
    'version 1, in a container with a cgroup namespace',
    { cgroup: '4:memory:/\n0::/\n', mountinfo: v1(POD), files: control },
    3,
  ],
  ['version 1, the whole machine', { cgroup: '4:memory:/\n0::/\n', mountinfo: v1('/'), files: control }, 0],
  ['version 1, in a group of a machine', { cgroup: '4:memory:/user/1\n0::/\n', mountinfo: v1('/'), files: control }, 0],
  [
    'version 1 without the count (before Linux 4.13)',
    { cgroup: `4:memory:${POD}\n`, mountinfo: v1(POD), files: {} },
    0,
  ],
  ['nothing readable', { cgroup: '', files: {} }, 0],
])('counts kills for memory: %s', async (_, seen, expected) => {
  expect(await count(seen)).toBe(expected)
})
