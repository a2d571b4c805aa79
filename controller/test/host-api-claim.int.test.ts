import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ClaimResponse } from '@cliscale/contract'
import { type Identified, type Launcher, LauncherUnavailable } from '../src/launch/launcher.ts'
import {
  call,
  claimed,
  createInternalServer,
  createInternalSystem,
  type InternalSystem,
  NONCE,
  ORDER,
} from './host-api-system.ts'

let system: InternalSystem
let claimUrl: string
beforeAll(async () => {
  system = await createInternalSystem()
  claimUrl = `${system.internal.url}/internal/claim`
})
afterAll(async () => system[Symbol.asyncDispose]())

async function launched(columns: Record<string, unknown> = {}): Promise<{ id: string; token: string }> {
  const id = await system.store.createSession(columns)
  await system.local.launcher.launch({ sessionId: id, timeoutSeconds: 60 })
  return { id, token: await system.local.tokenOf(id) }
}

/** The launcher, except that one session has a second pod, as Kubernetes may make one. */
function withSecondPod(sessionId: string, token: string, launchId: string): Launcher {
  const twin: Identified = { sessionId, launchId, progress: 'running', address: { host: '127.0.0.1', port: 9 } }
  const real = system.local.launcher
  return Object.assign(Object.create(real) as Launcher, {
    list: async () => [...(await real.list()), twin],
    identify: async (text: string) => (text === token ? twin : await real.identify(text)),
    remove: real.remove.bind(real),
    expectEnd: real.expectEnd.bind(real),
    onChange: real.onChange.bind(real),
  })
}

describe('claim', () => {
  test('returns the work order, the policy and a credential, and takes the session', async () => {
    const { id, token } = await launched({ status: 'scheduling', stage: 'scheduling' })
    const response = await call(claimUrl, token, { json: { nonce: NONCE } })
    expect(response.status).toBe(200)
    const claim = ClaimResponse.parse(await response.json())
    expect(claim).toMatchObject({ sessionId: id, started: false, order: ORDER, timeoutSeconds: 60 })
    const row = await system.store.session(id)
    expect(row).toMatchObject({ status: 'starting', pod_uid: claim.podUid })
    expect(row.stages.at(-1)?.endedAt).not.toBeNull()
    expect(JSON.stringify(row)).not.toContain(claim.reportCredential)
    expect(await system.store.count('session_orders', id)).toBe(1)
  })

  test.each([
    ['no credential', undefined, { nonce: NONCE }, 401],
    ['an invalid credential', 'x', { nonce: NONCE }, 401],
    ['an unknown token', `cs_launch_${randomUUID()}_${'A'.repeat(43)}`, { nonce: NONCE }, 401],
    ['a body that is not an object', 'own', [], 400],
    ['a nonce that is too short', 'own', { nonce: 'x' }, 400],
    ['an unknown field', 'own', { nonce: NONCE, more: 1 }, 400],
    ['a body that is too large', 'own', { nonce: 'n'.repeat(5000) }, 413],
  ])('refuses %s and changes nothing', async (_, credential, body, status) => {
    const { id, token } = await launched()
    const headers = credential === undefined ? { authorization: '' } : undefined
    const response = await call(claimUrl, credential === 'own' ? token : (credential ?? ''), {
      json: body,
      ...(headers && { headers }),
    })
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await system.store.session(id)).toMatchObject({ status: 'queued', pod_uid: null })
  })

  test('lets one of two racing pods win, and tells the other that there is another launch', async () => {
    for (let round = 0; round < 10; round++) {
      const { id, token } = await launched()
      const twin = `twin-${id}`
      await using second = await createInternalServer(system.store, withSecondPod(id, twin, 'other-pod'))
      const answers = await Promise.all([
        call(claimUrl, token, { json: { nonce: NONCE } }),
        call(`${second.url}/internal/claim`, twin, { json: { nonce: `${NONCE}-2` } }),
      ])
      expect(answers.map((answer) => answer.status).sort((a, b) => a - b)).toEqual([200, 409])
      const loser = answers.find((answer) => answer.status === 409)!
      expect(await loser.json()).toMatchObject({ code: 'claim_conflict' })
      const winner = ClaimResponse.parse(await answers.find((answer) => answer.status === 200)!.json())
      expect((await system.store.session(id)).pod_uid).toBe(winner.podUid)
      await system.local.launcher.remove(id)
    }
  })

  test.each([
    ['of a session of another backend', 'other', undefined],
    ['by a pod of another cluster of a session of the default backend', null, 'other'],
    ['of a backend whose name differs in case', 'Other', 'other'],
  ])('is refused %s, and gives nothing away', async (_, backend, served) => {
    const { id, token } = await launched({ backend })
    await using server = await createInternalServer(system.store, system.local.launcher, { backend: served ?? null })
    const before = await system.store.session(id)
    const response = await call(`${server.url}/internal/claim`, token, { json: { nonce: NONCE } })
    expect([response.status, await response.json()]).toMatchObject([409, { code: 'claim_conflict' }])
    expect(await system.store.session(id)).toEqual(before)
    expect(await system.store.count('session_orders', id)).toBe(1)
    expect(await system.store.count('session_endpoints', id)).toBe(0)
    // Its own backend's API gives it to the same pod.
    await using own = await createInternalServer(system.store, system.local.launcher, { backend })
    expect((await call(`${own.url}/internal/claim`, token, { json: { nonce: NONCE } })).status).toBe(200)
    // With the pod's own name and nonce it is refused all the same.
    expect((await call(`${server.url}/internal/claim`, token, { json: { nonce: NONCE } })).status).toBe(409)
  })

  test('refuses a pod that is being deleted, because it could not finish the session', async () => {
    const { id } = await launched()
    const launchId = randomUUID()
    const fault = { reason: 'evicted', detail: 'The pod was deleted.' } as const
    const dying = { sessionId: id, launchId, progress: 'running', fault } as const
    const launcher = Object.assign(Object.create(system.local.launcher) as Launcher, { identify: async () => dying })
    await using server = await createInternalServer(system.store, launcher)
    const json = { nonce: NONCE }
    expect((await call(`${server.url}/internal/claim`, `dying-${id}`, { json })).status).toBe(409)
    expect((await system.store.session(id)).pod_uid).toBeNull()
  })

  test('answers one pod that asks twenty times at once, and its last credential works', async () => {
    const { id, token } = await launched()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call(claimUrl, token, { json: { nonce: NONCE } })),
    )
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200))
    const credentials = await Promise.all(
      answers.map(async (a) => ClaimResponse.parse(await a.json()).reportCredential),
    )
    const statuses = await Promise.all(
      credentials.map(async (c) => (await call(`${system.internal.url}/internal/started`, c)).status),
    )
    expect(statuses.filter((status) => status === 204)).toHaveLength(1)
    expect(statuses.filter((status) => status === 401)).toHaveLength(19)
    expect(await system.store.count('session_orders', id)).toBe(0)
  })

  test('refuses the same pod with another nonce: a restart that must not run the session again', async () => {
    const { token } = await launched()
    expect((await call(claimUrl, token, { json: { nonce: NONCE } })).status).toBe(200)
    expect((await call(claimUrl, token, { json: { nonce: `${NONCE}-other` } })).status).toBe(404)
    expect((await call(claimUrl, token, { json: { nonce: NONCE } })).status).toBe(200)
  })

  test('answers 503 and decides nothing while the launcher is unavailable', async () => {
    const { id, token } = await launched()
    let away = true
    const launcher = Object.assign(Object.create(system.local.launcher) as Launcher, {
      identify: (text: string) =>
        away ? Promise.reject(new LauncherUnavailable('429')) : system.local.launcher.identify(text),
    })
    await using server = await createInternalServer(system.store, launcher)
    const refused = await call(`${server.url}/internal/claim`, token, { json: { nonce: NONCE } })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2'])
    expect(await refused.json()).toMatchObject({ code: 'launcher_unavailable' })
    expect(await system.store.session(id)).toMatchObject({ status: 'queued', pod_uid: null })
    away = false
    expect((await call(`${server.url}/internal/claim`, token, { json: { nonce: NONCE } })).status).toBe(200)
  })

  test('asks the launcher only once who the pod is', async () => {
    const { token } = await launched()
    let asked = 0
    const launcher = Object.assign(Object.create(system.local.launcher) as Launcher, {
      identify: (text: string) => (asked++, system.local.launcher.identify(text)),
    })
    await using server = await createInternalServer(system.store, launcher)
    expect((await call(`${server.url}/internal/claim`, token, { json: { nonce: NONCE } })).status).toBe(200)
    expect(asked).toBe(1)
  })

  test('ends the image pull that the cluster reported, and the wait for it', async () => {
    const stages = JSON.stringify([{ name: 'pulling_image', startedAt: new Date(Date.now() - 5_000), endedAt: null }])
    const wait = { wait_reason: 'image_pull', wait_detail: 'It is tried again.' }
    const { id, token } = await launched({ status: 'starting', stage: 'pulling_image', stages, ...wait })
    expect((await call(claimUrl, token, { json: { nonce: NONCE } })).status).toBe(200)
    const row = await system.store.session(id)
    expect(row).toMatchObject({ status: 'starting', wait_reason: null, wait_detail: null })
    expect(row.stages).toMatchObject([{ name: 'pulling_image', endedAt: expect.any(String) }])
  })

  test('refuses a terminal that has no host', async () => {
    const { id, token } = await launched({ kind: 'ttyd', status: 'starting' })
    expect((await call(claimUrl, token, { json: { nonce: NONCE } })).status).toBe(404)
    expect((await system.store.session(id)).pod_uid).toBeNull()
  })

  test.each([
    ['has ended', { status: 'stopped', ended_at: new Date() }],
    ['is stopped before it begins', { stop_requested_at: new Date() }],
  ])('has nothing to run when the session %s', async (_, columns) => {
    const { id, token } = await launched(columns)
    const response = await call(claimUrl, token, { json: { nonce: NONCE } })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'session_not_found' })
    expect((await system.store.session(id)).pod_uid).toBeNull()
  })

  test('ends the session with a reason when its work order cannot be opened', async () => {
    const { id, token } = await launched()
    await system.store.pool.query('update session_orders set ciphertext = $2 where session_id = $1', [
      id,
      Buffer.alloc(64),
    ])
    expect((await call(claimUrl, token, { json: { nonce: NONCE } })).status).toBe(404)
    expect(await system.store.session(id)).toMatchObject({ status: 'failed', reason: 'internal' })
  })

  test('can be repeated when its answer was lost after the COMMIT', async () => {
    const { id, token } = await launched()
    let cut = true
    await using flaky = await createInternalServer(system.store, system.local.launcher, {
      openOrder: () => {
        // The work order is opened after the COMMIT: the connection is lost here.
        if (cut) flaky.server.closeAllConnections()
        return ORDER
      },
    })
    await expect(call(`${flaky.url}/internal/claim`, token, { json: { nonce: NONCE } })).rejects.toThrow('fetch failed')
    const podUid = (await system.store.session(id)).pod_uid
    expect(podUid).not.toBeNull()
    cut = false
    const again = ClaimResponse.parse(await (await call(claimUrl, token, { json: { nonce: NONCE } })).json())
    expect(again).toMatchObject({ podUid, started: false, order: ORDER })
    expect((await call(`${system.internal.url}/internal/started`, again.reportCredential)).status).toBe(204)
  })
})

describe('started', () => {
  test('deletes the work order, may be repeated, and makes a later claim say so', async () => {
    const { id, claim } = await claimed(system)
    for (let i = 0; i < 2; i++) {
      expect((await call(`${system.internal.url}/internal/started`, claim.reportCredential)).status).toBe(204)
      expect(await system.store.count('session_orders', id)).toBe(0)
    }
    const again = await call(claimUrl, await system.local.tokenOf(id), { json: { nonce: NONCE } })
    expect(await again.json()).toMatchObject({ started: true, order: null })
  })

  test('is not confirmed when the session has ended meanwhile', async () => {
    const { id, claim } = await claimed(system)
    await system.store.pool.query(`update sessions set status = 'stopped' where id = $1`, [id])
    expect((await call(`${system.internal.url}/internal/started`, claim.reportCredential)).status).toBe(404)
    expect((await system.store.session(id))['order_started_at']).toBeNull()
  })
})
