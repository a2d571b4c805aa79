import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createLogger } from '@cliscale/service-kit'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import {
  createKubernetesLauncher,
  type KubernetesLauncherOptions,
} from '../src/launch/kubernetes/kubernetes-launcher.ts'
import { SessionTemplate } from '../src/launch/kubernetes/session-template.ts'
import { createKubernetesSystem, createTestCluster, hasCluster, type TestCluster } from './launch-cluster.ts'
import { describeLauncher, request } from './launch-contract.ts'

// Pods take their time on a machine that is busy with other tests.
jest.setTimeout(120_000)

describe('without a cluster', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'cliscale-kubeconfig-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  async function optionsWith(config: object): Promise<KubernetesLauncherOptions> {
    const kubeconfig = path.join(folder, randomUUID())
    await writeFile(kubeconfig, JSON.stringify(config))
    return {
      kubeconfig,
      namespace: 'sessions',
      instance: 'test',
      controllerUrl: 'http://127.0.0.1:9',
      queueLimitSeconds: 600,
      template: SessionTemplate.parse({ runnerImage: 'runner:1' }),
      logger: createLogger({ service: 'test', level: 'silent' }),
      timings: { syncMs: 300, callMs: 1000 },
    }
  }
  const away = {
    'current-context': 'a',
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    users: [{ name: 'a', user: { token: 'x' } }],
    clusters: [{ name: 'a', cluster: { server: 'http://127.0.0.1:9', 'insecure-skip-tls-verify': true } }],
  }

  test('a kubeconfig that names no cluster is refused at once', async () => {
    const empty = await optionsWith({ ...away, clusters: [] })
    expect(() => createKubernetesLauncher(empty)).toThrow(TypeError)
    expect(() => createKubernetesLauncher({ ...empty, kubeconfig: path.join(folder, 'none') })).toThrow('ENOENT')
  })

  test('an unavailable API server leaves everything undecided, in bounded time', async () => {
    const launcher = createKubernetesLauncher(await optionsWith(away))
    try {
      const unavailable = { name: 'LauncherUnavailable' }
      await expect(launcher.list()).rejects.toMatchObject(unavailable)
      await expect(launcher.refresh()).rejects.toMatchObject(unavailable)
      await expect(launcher.launch(request(randomUUID()))).rejects.toMatchObject(unavailable)
      await expect(launcher.remove(randomUUID())).rejects.toMatchObject(unavailable)
      const claims = { aud: ['cliscale'], 'kubernetes.io': { namespace: 'sessions', pod: { uid: 'a' } } }
      const token = `a.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c`
      await expect(launcher.identify(token)).rejects.toMatchObject(unavailable)
      // None of this needs an answer of the cluster.
      expect(await launcher.identify('x')).toBeUndefined()
      expect(launcher.watchStats()).toBeUndefined()
    } finally {
      await launcher.close()
    }
  })
})

if (hasCluster()) {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await createTestCluster()
  }, 60_000)
  afterAll(() => cluster.dispose())

  describeLauncher('Jobs on Kubernetes', async () => createKubernetesSystem(cluster))
}
