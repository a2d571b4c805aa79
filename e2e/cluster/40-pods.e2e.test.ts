import { POD_SECURITY_RULES, type PodShape, podSecurityFindings } from '@cliscale/test-kit'
import { beforeAll, expect, test } from '@jest/globals'
import WebSocket from 'ws'
import { eventually, kubectl, NAMESPACE, openApi, podsOf, SESSIONS, state, untilStatus, view } from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'

let api: Api
beforeAll(async () => {
  api = await openApi()
})
const stop = (session: Created) => api.api('DELETE', `/api/sessions/${session.sessionId}`)

test('a launched pod keeps all rules of restricted pod security, and the checker sees one that does not', async () => {
  const session = await api.create({ command: 'sleep 60' })
  await untilStatus(api, session.sessionId, ['running'])
  const [pod] = await podsOf(session.sessionId)
  await stop(session)
  expect(POD_SECURITY_RULES.length).toBe(17)
  expect(podSecurityFindings(pod as unknown as PodShape)).toEqual([])
  const bad = structuredClone(pod) as unknown as {
    spec: { hostNetwork: boolean; containers: { securityContext: object }[] }
  }
  bad.spec.hostNetwork = true
  for (const container of bad.spec.containers) container.securityContext = { privileged: true }
  expect(podSecurityFindings(bad as unknown as PodShape).length).toBeGreaterThan(3)
})

test('nothing of a request stands in what the cluster keeps or what our processes log', async () => {
  const canary = (field: string): string => `canary-${field}-${Date.now()}`
  const canaries = ['command', 'prompt', 'env', 'install', 'query', 'key'].map(canary)
  const [command, prompt, secret, install, query, idempotency] = canaries
  const { body } = await api.api(
    'POST',
    '/api/sessions',
    {
      command: `echo ${command} | wc -c; sleep 5`,
      prompt,
      env: { SECRET: secret },
      install_cmd: `echo ${install} | wc -c`,
      ...(state.clusterFolder ? { code_url: `https://code.example/10mb.tar.gz?signature=${query}` } : {}),
    },
    { 'idempotency-key': idempotency ?? '' },
  )
  const session = body as unknown as Created
  await untilStatus(api, session.sessionId, ['running'])
  const kept = [
    await kubectl('get', 'jobs,pods,events,configmaps', '-n', SESSIONS, '-o', 'json'),
    await kubectl('get', 'pods,events,configmaps', '-n', NAMESPACE, '-o', 'json'),
    await kubectl('logs', '-n', NAMESPACE, '-l', 'app.kubernetes.io/name=cliscale', '--tail=-1', '--prefix'),
  ]
  const label = `cliscale.dev/session-id=${session.sessionId}`
  kept.push(await kubectl('logs', '-n', SESSIONS, '-l', label, '--all-containers', '--tail=-1'))
  await stop(session)
  const [proof] = kept
  expect(proof).toContain(session.sessionId)
  const found = canaries.concat(session.sessionJWT).filter((text) => kept.some((place) => place.includes(text ?? '')))
  expect(found).toEqual([])
})

test('an image of the operator with our programs in it runs the command in that image', async () => {
  const session = await api.create({ command: 'cat /etc/image-name; node --version', image: 'custom' })
  expect(await api.ended(session.sessionId)).toMatchObject({ status: 'succeeded' })
  expect((await api.logs(session.sessionId)).toString()).toMatch(/^an image of our own\r\nv20\./)
})

test('an image that is not on the list is refused, and the list is named', async () => {
  const answer = await api.api('POST', '/api/sessions', { command: 'true', image: 'docker.io/library/busybox' })
  expect(answer.status).toBe(400)
  expect(JSON.stringify(answer.body)).toContain('custom')
})

if (state.images['ttyd'] === undefined) {
  test('no image with its own ttyd: name one in E2E_TTYD_IMAGE', () => expect(state.images['ttyd']).toBeUndefined())
} else {
  test('an image with its own ttyd is a terminal as soon as it listens, and takes no command', async () => {
    const refused = await api.api('POST', '/api/sessions', { command: 'true', image: 'ttyd' })
    expect(refused.status).toBe(400)
    const session = await api.create({ image: 'ttyd' })
    await untilStatus(api, session.sessionId, ['running'])
    const { sessionJWT } = await api.token(session.sessionId)
    const socket = new WebSocket(`${state.address.replace('http', 'ws')}/ws/${session.sessionId}?token=${sessionJWT}`, [
      'tty',
    ])
    let output = ''
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => (output += data[0] === 0x30 ? data.subarray(1).toString() : ''))
    socket.on('open', () => socket.send(JSON.stringify({ AuthToken: '', columns: 80, rows: 24 })))
    await eventually('a prompt', async () => output.includes('$'))
    socket.send(Buffer.from('0echo $((40 + 2))\n'))
    await eventually('the answer', async () => /\b42\b/.test(output))
    socket.terminate()
    expect((await view(api, session.sessionId)).status).toBe('running')
    expect((await podsOf(session.sessionId)).flatMap((pod) => podSecurityFindings(pod as unknown as PodShape))).toEqual(
      [],
    )
    await stop(session)
    expect(await api.ended(session.sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
  })
}
