import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { jobSpec } from '../src/launch/kubernetes/job-spec.ts'
import type { KubernetesLauncherOptions } from '../src/launch/kubernetes/kubernetes-launcher.ts'
import type { Launched, Launcher } from '../src/launch/launcher.ts'
import { type ApiServerProxy, createApiServerProxy } from './api-server-proxy.ts'
import {
  createKubernetesSystem,
  createTestCluster,
  hasCluster,
  type KubernetesSystem,
  templateFor,
  type TestCluster,
} from './launch-cluster.ts'
import { expectEventually, request } from './launch-contract.ts'

// Pods take their time on a machine that is busy with other tests.
jest.setTimeout(120_000)

const UNAVAILABLE = { name: 'LauncherUnavailable' }
const find = async (launcher: Launcher, id: string): Promise<Launched | undefined> =>
  (await launcher.list()).find((entry) => entry.sessionId === id)
const named = (launcher: Launcher, id: string): Promise<string> =>
  expectEventually(async () => (await find(launcher, id))?.launchId)
const address = (launcher: Launcher, id: string) => expectEventually(async () => (await find(launcher, id))?.address)

function describeFaults(): void {
  let cluster: TestCluster
  let cleanUp: (() => Promise<void>)[] = []
  beforeAll(async () => {
    cluster = await createTestCluster()
  }, 60_000)
  afterAll(() => cluster.dispose())
  afterEach(async () => {
    for (const one of cleanUp.reverse()) await one()
    cleanUp = []
  })

  function system(extra: Partial<KubernetesLauncherOptions> = {}): KubernetesSystem {
    const made = createKubernetesSystem(cluster, extra)
    cleanUp.push(() => made.dispose())
    return made
  }

  /** A launcher behind a proxy, and another for the same sessions that talks to the API server directly. */
  async function behindProxy(
    timings: KubernetesLauncherOptions['timings'] = {},
  ): Promise<{ proxy: ApiServerProxy; launcher: KubernetesSystem['launcher']; direct: KubernetesSystem }> {
    const proxy = await createApiServerProxy(cluster.server)
    cleanUp.push(async () => proxy[Symbol.asyncDispose]())
    const direct = system()
    const kubeconfig = await cluster.kubeconfigVia(proxy.port)
    const { launcher } = system({ ...direct.options, kubeconfig, timings: { callMs: 3000, syncMs: 6000, ...timings } })
    await launcher.list()
    return { proxy, launcher, direct }
  }
  const lists = (proxy: ApiServerProxy, since = 0): number =>
    proxy.seen.filter(({ at, isWatch, method }) => method === 'GET' && !isWatch && at >= since).length

  describe('watches of a real API server', () => {
    test('cut again and again: nothing is missed, and no storm of requests follows', async () => {
      const { proxy, launcher, direct } = await behindProxy()
      const kept = randomUUID()
      await direct.launcher.launch(request(kept))
      const since = performance.now()
      const cutting = setInterval(() => proxy.cutWatches(), 50)
      const gone = randomUUID()
      await direct.launcher.launch(request(gone))
      await named(direct.launcher, gone)
      await direct.launcher.remove(gone)
      await sleep(6000)
      clearInterval(cutting)
      const during = lists(proxy, since)
      expect((await address(launcher, kept)).port).toBe(7681)
      await expectEventually(async () => (await find(launcher, gone))?.progress !== 'running')
      // Two resources; waits double from half a second.
      expect(during).toBeGreaterThan(4)
      expect(during).toBeLessThan(24)
      console.log(`120 cuts in 6 s: ${during} lists`)
    })

    test('half open: refresh notices at once, and the watchdog soon', async () => {
      const { proxy, launcher, direct } = await behindProxy({ silenceMs: 6000 })
      proxy.silent = true
      const id = randomUUID()
      await direct.launcher.launch(request(id))
      const launchId = await named(direct.launcher, id)
      await sleep(500)
      expect(await find(launcher, id)).toBeUndefined()
      await launcher.refresh()
      expect(await named(launcher, id)).toBe(launchId)
      const later = randomUUID()
      await direct.launcher.launch(request(later))
      expect(await find(launcher, later)).toBeUndefined()
      await address(launcher, later)
      expect(launcher.watchStats()!.silentMs).toBeLessThan(7000)
    })

    test.each([
      [
        '410 as an event',
        '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}\n',
      ],
      ['500 as an event', '{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n'],
      ['a line that is not JSON', 'upstream timed out\n'],
      ['an invalid object', '{"type":"MODIFIED","object":{}}\n'],
    ])('%s leads to a new list', async (_name, text) => {
      const { proxy, launcher, direct } = await behindProxy()
      await expectEventually(async () => proxy.seen.filter((one) => one.isWatch).length >= 2)
      await sleep(300)
      proxy.silent = true
      const id = randomUUID()
      await direct.launcher.launch(request(id))
      await named(direct.launcher, id)
      expect(await find(launcher, id)).toBeUndefined()
      proxy.silent = false
      proxy.inject(text)
      await address(launcher, id)
    })

    test.each([500, 503, 429])('an API server that answers %d is asked rarely, then heard again', async (status) => {
      const { proxy, launcher, direct } = await behindProxy({ longestWaitMs: 2000 })
      const id = randomUUID()
      await direct.launcher.launch(request(id))
      await address(launcher, id)
      const headers = status === 429 ? { 'retry-after': '3' } : {}
      proxy.refuse = () => ({ status, headers })
      proxy.cutWatches()
      const since = performance.now()
      await expect(launcher.launch(request(randomUUID()))).rejects.toMatchObject(UNAVAILABLE)
      await expect(launcher.remove(id)).rejects.toMatchObject(UNAVAILABLE)
      await expect(launcher.refresh()).rejects.toMatchObject(UNAVAILABLE)
      // What was known stays known: that it cannot be asked says nothing about it.
      expect((await find(launcher, id))?.address).toBeDefined()
      const asked = lists(proxy, since)
      const seconds = (performance.now() - since) / 1000
      expect(asked).toBeLessThanOrEqual(status === 429 ? 2 + (2 * seconds) / 3 : 8 + 2 * seconds)
      proxy.refuse = undefined
      await launcher.remove(id)
      const next = randomUUID()
      await launcher.launch(request(next))
      await address(launcher, next)
    })
  })

  describe('calls', () => {
    test('an answer that is lost: the second try finds the Job of the first, and one pod runs', async () => {
      const { proxy, launcher, direct } = await behindProxy()
      const id = randomUUID()
      proxy.loseAnswerOf(({ method, path }) => method === 'POST' && path.endsWith('/jobs'))
      await expect(launcher.launch(request(id))).rejects.toMatchObject(UNAVAILABLE)
      await launcher.launch(request(id))
      const launchId = await named(launcher, id)
      await address(launcher, id)
      expect((await direct.launcher.list()).map((entry) => entry.launchId)).toEqual([launchId])
    })

    test('a start costs two writes: one Job and one token review', async () => {
      const { proxy, launcher, direct } = await behindProxy()
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(launcher, id)
      const token = await direct.tokenOf(id)
      for (const none of ['', 'x', 'a.b.c', `${token}\n`, token.slice(token.indexOf('.'))])
        await launcher.identify(none)
      const same = await Promise.all([launcher.identify(token), launcher.identify(token)])
      expect(same[0]).toEqual(same[1])
      expect(same[0]).toMatchObject({ sessionId: id })
      expect(proxy.seen.filter(({ method }) => method !== 'GET').map(({ path }) => path)).toEqual([
        expect.stringMatching(/\/jobs$/),
        expect.stringMatching(/\/tokenreviews$/),
      ])
    })

    test('a foreign Job of the same name is left alone', async () => {
      const { launcher, options } = system()
      const id = randomUUID()
      const foreign = jobSpec(request(id), { ...options, instance: 'another' })
      await cluster.kubectlWith(foreign, 'create', '-f', '-')
      await expect(launcher.launch(request(id))).rejects.toThrow('not ours')
      expect(await find(launcher, id)).toBeUndefined()
      await cluster.kubectl('-n', cluster.namespace, 'get', 'job', `cliscale-${id}`)
    })

    test('a Job that is being deleted is not adopted', async () => {
      const { launcher } = system()
      const id = randomUUID()
      await launcher.launch(request(id))
      const first = await named(launcher, id)
      await address(launcher, id)
      const scope = ['-n', cluster.namespace, 'delete', 'job', `cliscale-${id}`]
      await cluster.kubectl(...scope, '--cascade=foreground', '--wait=false')
      await launcher.launch(request(id)).catch(async (err: unknown) => {
        expect(err).toMatchObject(UNAVAILABLE)
        await expectEventually(async () => {
          await sleep(500)
          return launcher.launch(request(id)).then(
            () => true,
            () => false,
          )
        })
      })
      expect(
        await expectEventually(async () =>
          (await launcher.list()).find((entry) => entry.address && entry.launchId !== first),
        ),
      ).toMatchObject({ sessionId: id })
    })

    test('a refusal by the cluster is passed on in its words', async () => {
      const { launcher } = system({
        template: templateFor(cluster, { labels: { 'batch.kubernetes.io/job-name': 'x' } }),
      })
      await expect(launcher.launch(request(randomUUID()))).rejects.toMatchObject({
        name: 'LaunchRefused',
        message: expect.stringMatching(/^The cluster refuses the session’s Job\. .*job-name/),
      })
      await expect(launcher.launch({ ...request(randomUUID()), image: 'none' })).rejects.toThrow('not in the list')
    })
  })

  describe('pods', () => {
    test('one that was deleted by force keeps its reason until it is removed', async () => {
      const { launcher } = system()
      const id = randomUUID()
      await launcher.launch(request(id))
      const launchId = await named(launcher, id)
      await address(launcher, id)
      const [pod] = await cluster.pods(id)
      await cluster.kubectl('-n', cluster.namespace, 'delete', 'pod', pod!.metadata.name, '--force', '--grace-period=0')
      const over = await expectEventually(async () => {
        const now = await find(launcher, id)
        return now?.progress === 'ended' && now
      })
      expect(over).toMatchObject({ launchId, fault: { reason: 'evicted', detail: 'The session’s pod was deleted.' } })
      await sleep(3000)
      expect(await launcher.list()).toEqual([over])
      await launcher.remove(id, launchId)
      await launcher.remove(id)
      expect(await find(launcher, id)).toBeUndefined()
    })

    test('one whose Job was deleted without it is removed with its session', async () => {
      const { launcher } = system()
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(launcher, id)
      await cluster.kubectl('-n', cluster.namespace, 'delete', 'job', `cliscale-${id}`, '--cascade=orphan')
      await expectEventually(async () => (await cluster.pods(id))[0]?.metadata.ownerReferences === undefined)
      await launcher.remove(id)
      await expectEventually(async () => (await cluster.pods(id)).length === 0)
    })

    test('a hand-made twin is a launch of its own, and is removed alone', async () => {
      const first = system()
      const { launcher } = first
      const id = randomUUID()
      await launcher.launch(request(id))
      const launchId = await named(launcher, id)
      await address(launcher, id)
      const [pod] = await cluster.pods(id)
      const { name, uid: _uid, ...metadata } = pod!.metadata as Record<string, unknown> & { name: string }
      const { nodeName: _node, ...spec } = pod!.spec
      const { ownerReferences } = metadata
      // The Job controller knows its pods by this label, and deletes one too many within a second.
      const isOfJob = ([key]: [string, unknown]): boolean => key.endsWith('controller-uid')
      const labels = Object.fromEntries(Object.entries(metadata['labels'] as object).filter((one) => !isOfJob(one)))
      const twin = { apiVersion: 'v1', kind: 'Pod', metadata: { name: `${name}-twin`, labels, ownerReferences }, spec }
      await cluster.kubectlWith(
        { ...twin, metadata: { ...twin.metadata, namespace: cluster.namespace } },
        'create',
        '-f',
        '-',
      )
      const other = await expectEventually(async () =>
        (await launcher.list()).find((entry) => entry.launchId !== launchId && entry.address),
      )
      expect(other.sessionId).toBe(id)
      await launcher.remove(id, other.launchId)
      expect(await launcher.list()).toMatchObject([{ launchId }])
      await expectEventually(async () => (await cluster.pods(id)).length === 1)
      await sleep(1000)
      expect((await find(launcher, id))?.address).toBeDefined()
    })

    test('a host that is done while its work stays is not restarted for ever', async () => {
      const made = system({ timings: { leaveMs: 2000 } })
      const id = randomUUID()
      await made.launcher.launch(request(id))
      await address(made.launcher, id)
      await made.exec(id, 'host', 'sh', '-c', 'echo "0 stay" >/var/lib/cliscale/spool/exit')
      await expectEventually(async () => (await made.countRunning(id)) === 0)
    })

    test('work that exceeds its memory, and a terminal of its own, look the same to two launchers', async () => {
      const images = { shell: { image: cluster.image, kind: 'ttyd' } }
      const first = system({ template: templateFor(cluster, { images }) })
      const second = await first.restart()
      const [hungry, shell] = [randomUUID(), randomUUID()]
      await first.launcher.launch(request(hungry))
      await first.launcher.launch({ ...request(shell), image: 'shell' })
      await address(first.launcher, hungry)
      await address(second, shell)
      await first.exec(hungry, 'work', 'touch', '/session/eat')
      for (const launcher of [first.launcher, second]) {
        const fault = await expectEventually(async () => (await find(launcher, hungry))?.fault)
        expect(fault).toMatchObject({ reason: 'oom_killed', detail: expect.stringContaining('256Mi') })
      }
    })

    test('what prevents a pod is reported: a quota, an admission rule, a missing volume', async () => {
      const extraCaConfigMap = { name: 'not-there', key: 'ca.crt' }
      const { launcher } = system({ template: templateFor(cluster, { extraCaConfigMap }) })
      const mounting = randomUUID()
      await launcher.launch(request(mounting))
      expect(await expectEventually(async () => (await find(launcher, mounting))?.wait)).toMatchObject({
        reason: 'container_failed',
        detail: expect.stringMatching(/^The session’s pod cannot be prepared yet\. .*configmap "not-there" not found/),
      })
      const quota = {
        apiVersion: 'v1',
        kind: 'ResourceQuota',
        metadata: { name: 'none', namespace: cluster.namespace },
      }
      await cluster.kubectlWith({ ...quota, spec: { hard: { 'requests.nvidia.com/gpu': '0' } } }, 'apply', '-f', '-')
      cleanUp.push(async () => void (await cluster.kubectl('-n', cluster.namespace, 'delete', 'resourcequota', 'none')))
      const gpu = { 'nvidia.com/gpu': 1, cpu: '10m' }
      const resources = { work: { requests: gpu, limits: gpu } }
      const crowded = system({ template: templateFor(cluster, { resources }) })
      const waiting = randomUUID()
      await crowded.launcher.launch(request(waiting))
      expect(await expectEventually(async () => (await find(crowded.launcher, waiting))?.wait)).toMatchObject({
        reason: 'unschedulable',
        detail: expect.stringMatching(/^There is no room for more sessions\. .*exceeded quota: none/),
      })
      const unknown = system({ template: templateFor(cluster, { serviceAccountName: 'not-there' }) })
      const refused = randomUUID()
      await unknown.launcher.launch(request(refused))
      expect(await expectEventually(async () => (await find(unknown.launcher, refused))?.wait)).toMatchObject({
        reason: 'container_failed',
        detail: expect.stringMatching(/^The cluster refuses the session’s pod\. .*not-there/),
      })
    })

    test('an exhausted quota of Jobs is waited for', async () => {
      const { launcher } = system()
      const quota = {
        metadata: { name: 'jobs', namespace: cluster.namespace },
        spec: { hard: { 'count/jobs.batch': 0 } },
      }
      await cluster.kubectlWith({ apiVersion: 'v1', kind: 'ResourceQuota', ...quota }, 'apply', '-f', '-')
      cleanUp.push(async () => void (await cluster.kubectl('-n', cluster.namespace, 'delete', 'resourcequota', 'jobs')))
      const launched = (): Promise<string> =>
        launcher.launch(request(randomUUID())).then(
          () => '',
          ({ message, name }: Error) => `${name}: ${message}`,
        )
      await expectEventually(async () => (await launched()) !== '')
      expect(await launched()).toMatch(
        /^LauncherUnavailable: there is no room for more sessions: .*exceeded quota: jobs/,
      )
    })

    test('tokens for another audience, another pod, another launcher or a deleted pod name no launch', async () => {
      const made = system()
      const { launcher } = made
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(launcher, id)
      const token = await made.tokenOf(id)
      const make = async (...args: string[]): Promise<string> =>
        (await cluster.kubectl('-n', cluster.namespace, 'create', 'token', 'cliscale-session', ...args)).trim()
      const [pod] = await cluster.pods(id)
      const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod!.metadata.name}`]
      expect(await launcher.identify(await make('--audience=cliscale'))).toBeUndefined()
      expect(await launcher.identify(await make(...bound))).toBeUndefined()
      expect(await launcher.identify(await make(...bound, '--audience=cliscale'))).toMatchObject({ sessionId: id })
      await expect(made.exec(id, 'work', 'ls', '/var/run/secrets')).rejects.toThrow()
      const other = system()
      expect(await other.launcher.identify(token)).toBeUndefined()
      await cluster.kubectl('-n', cluster.namespace, 'delete', 'pod', pod!.metadata.name, '--force', '--grace-period=0')
      await expectEventually(async () => (await launcher.identify(token)) === undefined)
    })
  })

  test('a launcher without rights says that it is unavailable, and asks rarely', async () => {
    const proxy = await createApiServerProxy(cluster.server)
    cleanUp.push(async () => proxy[Symbol.asyncDispose]())
    const kubeconfig = await cluster.kubeconfigVia(proxy.port)
    const { launcher } = system({ kubeconfig, namespace: 'default', timings: { syncMs: 3000 } })
    await expect(launcher.list()).rejects.toMatchObject(UNAVAILABLE)
    expect(lists(proxy)).toBeLessThan(10)
    await expect(launcher.launch(request(randomUUID()))).rejects.toThrow(/refuses .* forbidden/)
  })
}

if (hasCluster())
  describe('the launcher of Jobs, on a cluster with faults', () => {
    describeFaults()
  })
else test('needs a cluster', () => expect(process.env['E2E_KUBECONFIG'] ?? '').toBe(''))
