/** What can happen to a cluster, played on the test cluster: its processes are this machine's. */
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { clusterProgram, componentPods, eventually, kubectl, NAMESPACE, partPid, type Pod } from './cluster.ts'

/** Processes of a pod, by the name of its control group; the pause process among them. */
async function processesOf(pod: Pod): Promise<number[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found: number[] = []
  for (const name of names) {
    const groups = await readFile(`/proc/${name}/cgroup`, 'utf8').catch(() => '')
    if (groups.includes(pod.metadata.uid)) found.push(Number(name))
  }
  return found
}

/** Kills a program in all of these pods at the same moment, without a goodbye. Returns how many processes that were. */
export async function killProgram(pods: readonly Pod[], program: string): Promise<number> {
  const victims: number[] = []
  for (const pid of (await Promise.all(pods.map(processesOf))).flat()) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(program)) victims.push(pid)
  }
  for (const pid of victims) process.kill(pid, 'SIGKILL')
  return victims.length
}

/** Kills every process of a component. */
export async function killComponent(component: 'controller' | 'gateway', program: string): Promise<number> {
  return killProgram(await componentPods(component), program)
}

/** Waits until every pod of the release is ready. */
export async function untilReleaseReady(limitMs = 120_000): Promise<void> {
  for (const name of ['cliscale-controller', 'cliscale-gateway']) {
    await kubectl('rollout', 'status', `deployment/${name}`, '-n', NAMESPACE, `--timeout=${Math.ceil(limitMs / 1000)}s`)
  }
}

/** Kills a part of the cluster, waits, and has it started again. */
export async function withoutPart(
  part: string,
  ms: number,
  meanwhile: () => Promise<void> = async () => {},
): Promise<void> {
  process.kill(partPid(part), 'SIGKILL')
  const end = Date.now() + ms
  try {
    await meanwhile()
    await sleep(Math.max(0, end - Date.now()))
  } finally {
    // It waits a minute for the node. With 50 pods that is not always enough, and a second call goes on waiting.
    await clusterProgram('up').catch(() => clusterProgram('up'))
  }
  await eventually('the API server answers', async () => (await kubectl('get', '--raw', '/readyz')) === 'ok')
}

/** Stops the database as when a managed one is restarted, waits, and starts it again. */
export async function withoutDatabase(ms: number, meanwhile: () => Promise<void> = async () => {}): Promise<void> {
  await clusterProgram('database', 'stop')
  const end = Date.now() + ms
  try {
    await meanwhile()
    await sleep(Math.max(0, end - Date.now()))
  } finally {
    await clusterProgram('database', 'start')
  }
}

/** Kills one backend of the database: PostgreSQL then restarts, and its unlogged tables are empty. */
export async function killDatabaseBackend(): Promise<void> {
  const url = 'postgres://cliscale:cliscale@10.99.0.5:5432/cliscale'
  const query = "select pid from pg_stat_activity where datname = 'cliscale_e2e' limit 1"
  const pid = Number(await clusterProgram('outside', 'psql', url, '-AtX', '-c', query))
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
  if (name.trim() !== 'postgres') throw new Error(`the database has no connection of ours (${pid} ${name})`)
  process.kill(pid, 'SIGKILL')
}
