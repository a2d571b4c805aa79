import { randomUUID } from 'node:crypto'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { killProgram } from '../src/cluster-faults.ts'
import { ClusterFleet } from '../src/cluster-fleet.ts'
import { apiKey, eventually, helm, kubectl, kubectlJson, openApi, type Pod, ROOT, state } from '../src/cluster.ts'
import { type Front, openFront } from '../src/front.ts'

/** A release of its own, in namespaces of its own, behind a host name of its own. */
const NAMESPACE = 'e2e-upgrade'
const DATABASE = 'cliscale_e2e_upgrade'
const HOSTNAME = 'upgrade.example'
const run = promisify(execFile)

interface Scripts {
  provideDatabase(state: object, name: string, namespace: string): Promise<string | null>
  dropDatabase(state: object, name: string): Promise<void>
  deployValues(state: object, certificate: undefined): object
}

if (state.clusterFolder === null) {
  test('no second release is installed: this is not the test cluster', () => expect(state.clusterFolder).toBeNull())
} else {
  let dir: string
  let front: Front
  let scripts: Scripts
  let previousChart: string

  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'cs-upgrade-'))
    scripts = {
      ...((await import('../../scripts/e2e/postgres.mjs' as string)) as Scripts),
      ...((await import('../../scripts/e2e/values.mjs' as string)) as Scripts),
    }
    previousChart = await chartOfPreviousCommit(dir)
    await removeAll()
    await kubectl('create', 'namespace', NAMESPACE)
    await kubectl('label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted')
    await scripts.provideDatabase(state, DATABASE, NAMESPACE)
    await writeFile(path.join(dir, 'run.json'), JSON.stringify(scripts.deployValues(state, undefined)))
    front = await openFront(state.address, { hostname: HOSTNAME })
  }, 180_000)
  afterAll(async () => {
    await front?.[Symbol.asyncDispose]()
    await removeAll()
    await scripts.dropDatabase(state, DATABASE)
    await rm(dir, { recursive: true })
  }, 180_000)

  const removeAll = async (): Promise<void> => {
    await helm(['uninstall', 'cliscale', '-n', NAMESPACE, '--ignore-not-found', '--wait', '--timeout', '2m']).catch(
      () => '',
    )
    await kubectl('delete', 'namespace', NAMESPACE, `${NAMESPACE}-sessions`, '--ignore-not-found', '--timeout=100s')
  }
  const deploy = (chart: string, ...settings: string[]): Promise<string> =>
    helm(
      ['upgrade', '--install', 'cliscale', chart, '-n', NAMESPACE, '--wait', '--timeout', '4m']
        .concat(['--values', path.join(ROOT, 'e2e/cluster/values.yaml'), '--values', path.join(dir, 'run.json')])
        .concat([`ingress.hostname=${HOSTNAME}`, ...settings].flatMap((setting) => ['--set', setting])),
    )
  /** @throws the answer that came instead, for whoever has to find the cause */
  const isOk = async (at: string): Promise<true> => {
    const answer = await fetch(front.base + at, { signal: AbortSignal.timeout(10_000) })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${at}: ${answer.status} ${text.slice(0, 300)}`)
    return true
  }
  const keys = async (): Promise<unknown> => {
    const names = ['cliscale-api-key', 'cliscale-data-key', 'cliscale-signing-key']
    const secrets = await kubectlJson<{ items: { data: unknown }[] }>('get', 'secret', '-n', NAMESPACE, ...names)
    const jwks = await fetch(`${front.base}/.well-known/jwks.json`)
    return [secrets.items.map(({ data }) => data), await jwks.json()]
  }

  test('the chart is installed into an empty namespace and upgraded under ten sessions: none ends, no key changes', async () => {
    await deploy(previousChart)
    const api = await openApi(front.base, NAMESPACE)
    // The load balancer learns its two Services one after the other.
    for (const at of ['/readyz', `/ws/${randomUUID()}`]) await eventually(`GET ${at}`, () => isOk(at), 120_000)
    await using fleet = await ClusterFleet.start(api, 10, [front.base])
    await fleet.untilRunning()
    const before = await keys()
    const connections = fleet.members.map(({ viewer }) => viewer.connections)
    // Every process is replaced, whatever else the chart changed.
    const mark = `podAnnotations.e2e=${Date.now()}x`
    await deploy(path.join(ROOT, 'cliscale-chart'), `controller.${mark}`, `gateway.${mark}`)
    await fleet.untilEachMoves(30_000)
    expect(await fleet.notRunning()).toEqual([])
    expect(await keys()).toEqual(before)
    // The old gateways stay for a moment, so that the load balancer can forget them, and then close their viewers.
    const isBack = ({ viewer }: (typeof fleet.members)[number], i: number) => viewer.connections > (connections[i] ?? 0)
    await eventually('every viewer is on a new gateway', async () => fleet.members.every(isBack), 60_000)
    expect(await fleet.endAndCompare()).toBe(10)
  }, 420_000)

  test('a migration that is killed half-way runs again, and the upgrade goes on', async () => {
    // The lock that lets migrations run one by one is held, so that the Job's process is half-way when it is killed.
    const url = `postgres://cliscale:cliscale@10.99.0.5:5432/${DATABASE}`
    const program = path.join(state.clusterFolder ?? '', 'outside')
    const holder = spawn(program, ['psql', url, '-qX'], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    holder.stdin?.write('begin; select pg_advisory_xact_lock(7080768100);\n')
    const upgrade = deploy(path.join(ROOT, 'cliscale-chart'), 'controller.logLevel=debug')
    // Awaited below, even when something else failed first.
    upgrade.catch(() => {})
    try {
      const selector = 'app.kubernetes.io/component=migration'
      const pod = await eventually(
        'the migration runs',
        async () => {
          const { items } = await kubectlJson<{ items: Pod[] }>('get', 'pods', '-n', NAMESPACE, '-l', selector)
          return items.find(({ status }) => status.containerStatuses?.some((each) => each.state.running))
        },
        90_000,
      )
      await killProgram([pod], 'migrate-cli.js')
    } finally {
      await endHolder(holder)
      await upgrade
    }
    expect((await fetch(`${front.base}/readyz`)).status).toBe(200)
  }, 300_000)

  test('helm uninstall leaves only what it says it leaves', async () => {
    const notes = await helm(['get', 'notes', 'cliscale', '-n', NAMESPACE])
    const said = notes + (await helm(['uninstall', 'cliscale', '-n', NAMESPACE, '--wait', '--timeout', '3m']))
    const kinds =
      'deployments,statefulsets,services,ingresses,jobs,pods,secrets,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,persistentvolumeclaims'
    const names = async (namespace: string): Promise<string[]> =>
      (await kubectl('get', kinds, '-n', namespace, '--ignore-not-found', '-o', 'name')).split('\n').filter(Boolean)
    const foreign = ['secret/cliscale-database', 'configmap/kube-root-ca.crt', 'serviceaccount/default']
    // A pod has the name of its Job; one that is ending takes its time.
    const isSaid = (name: string): boolean => said.includes(name.replace(/^.*\//, '').replace(/-[a-z0-9]{5}$/, ''))
    let unsaid: string[] = []
    const untilSaid = async (): Promise<boolean> => {
      unsaid = (await names(NAMESPACE)).filter((name) => !foreign.includes(name) && !isSaid(name))
      return unsaid.length === 0
    }
    await eventually('nothing else is left', untilSaid, 60_000).catch(() => false)
    expect(unsaid).toEqual([])
    const cluster = await kubectl('get', 'clusterroles,clusterrolebindings,namespaces', '-o', 'name')
    expect(cluster.split('\n').filter((name) => name.includes(NAMESPACE))).toEqual([`namespace/${NAMESPACE}`])
    expect(await apiKey(NAMESPACE)).toMatch(/^cs_key_/)
  }, 240_000)
}

/** Its psql is a grandchild; the group ends as a whole. */
async function endHolder(holder: ReturnType<typeof spawn>): Promise<void> {
  if (holder.exitCode !== null || holder.signalCode !== null || holder.pid === undefined) return
  const gone = once(holder, 'exit')
  process.kill(-holder.pid, 'SIGKILL')
  await gone
}

/** The chart of the previous commit; the present one where there is no earlier one. */
async function chartOfPreviousCommit(dir: string): Promise<string> {
  const tar = path.join(dir, 'chart.tar')
  for (const commit of ['HEAD~1', 'HEAD']) {
    const made = await run('git', ['-C', ROOT, 'archive', '-o', tar, commit, 'cliscale-chart']).catch(() => undefined)
    if (!made) continue
    process.stderr.write(`The upgrade begins with the chart of ${commit}.\n`)
    await run('tar', ['-C', dir, '-xf', tar])
    return path.join(dir, 'cliscale-chart')
  }
  throw new Error('no commit has a cliscale-chart')
}
