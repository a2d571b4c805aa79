import { POD_SECURITY_RULES, type PodShape, podSecurityFindings } from '@cliscale/test-kit'
import { beforeAll, expect, test } from '@jest/globals'
import WebSocket from 'ws'
import {
  eventually,
  kubectl,
  NAMESPACE,
  onDatabase,
  openApi,
  podsOf,
  SESSIONS,
  state,
  untilStatus,
} from '../src/cluster.ts'
import type { Api, Created } from '../src/system.ts'

let api: Api
beforeAll(async () => {
  api = await openApi()
})
const stop = (session: Created) => api.stop(session.sessionId)

test('a launched pod keeps all rules of restricted pod security, and the checker notices one that does not', async () => {
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

/** Where a text could be found: objects of both namespaces except Secrets, logs of all our containers, the database. */
async function everythingKept(): Promise<Record<string, string>> {
  const kinds = 'jobs,pods,events,configmaps,replicasets,deployments,services,serviceaccounts,ingresses'
  const kept: Record<string, string> = {
    sessions: await kubectl('get', kinds, '-n', SESSIONS, '-o', 'json'),
    release: await kubectl('get', kinds, '-n', NAMESPACE, '-o', 'json'),
  }
  for (const namespace of [NAMESPACE, SESSIONS]) {
    const names = (await kubectl('get', 'pods', '-n', namespace, '-o', 'name')).split('\n').filter(Boolean)
    for (const name of names) {
      const logs = ['logs', name, '-n', namespace, '--all-containers', '--tail=-1']
      // A container that never started, or started only once, has none.
      for (const more of [[], ['--previous']])
        kept[[name, ...more].join(' ')] = await kubectl(...logs, ...more).catch(() => '')
    }
  }
  // A column of bytes is dumped in hexadecimal digits.
  if (state.clusterFolder && state.database) kept['database'] = await onDatabase('pg_dump')
  return kept
}

test('nothing of a request appears in what the cluster or the database keeps or what our processes log', async () => {
  const canary = (field: string): string => `canary-${field}-${Date.now()}`
  const canaries = ['command', 'prompt', 'env', 'install', 'query', 'password'].map(canary)
  const [command, prompt, secret = '', install, query, password] = canaries
  const key = canary('key')
  const request = {
    command: `echo ${command} | wc -c; sleep 5`,
    prompt,
    env: { SECRET: secret },
    install_cmd: `echo ${install} | wc -c`,
  }
  const url = `code.example/10mb.tar.gz?signature=${query}`
  const refused = api.create({ ...request, code_url: `https://me:${password}@${url}` })
  await expect(refused).rejects.toMatchObject({ status: 400 })
  const code = state.clusterFolder ? { code_url: `https://${url}` } : {}
  const session = await api.create({ ...request, ...code }, { idempotencyKey: key })
  // Its work order waits as long as its image does.
  const waiting = await api.create({ ...request, image: 'missing' })
  await untilStatus(api, session.sessionId, ['running'])
  const atWork = await everythingKept()
  await stop(waiting)
  const ends = await Promise.all([session, waiting].map(({ sessionId }) => api.ended(sessionId)))
  expect(ends).toMatchObject([{ status: 'succeeded' }, { status: 'stopped' }])
  const atEnd = await everythingKept()

  // The negative control: the search looked in the right places.
  for (const kept of [atWork, atEnd]) {
    for (const place of Object.keys(kept).filter((name) => /^(sessions|database)$/.test(name)))
      expect(kept[place]).toContain(session.sessionId)
    const logs = Object.keys(kept).filter((name) => name.startsWith('pod/cliscale-controller'))
    expect(logs.some((name) => kept[name]?.includes(session.sessionId))).toBe(true)
  }
  if (atWork['database']) expect(ordersIn(atWork['database'])).toContain(waiting.sessionId)
  if (atEnd['database']) expect(ordersIn(atEnd['database'])).not.toContain(waiting.sessionId)
  const secrets = [...canaries, session.sessionJWT, waiting.sessionJWT]
  const forms = secrets.flatMap((text) => [text, Buffer.from(text).toString('hex')])
  const places = [atWork, atEnd].flatMap((kept) => Object.entries(kept))
  const found = places.flatMap(([place, text]) =>
    forms.filter((form) => text.includes(form)).map((form) => [place, form]),
  )
  expect(found).toEqual([])
  // A key is kept for as long as a request may be repeated, and is nowhere else.
  expect(places.filter(([place, text]) => place !== 'database' && text.includes(key))).toEqual([])
})

/** The rows of `session_orders` in a dump. */
function ordersIn(dump: string): string {
  return /^COPY \S*session_orders .*?^\\\.$/ms.exec(dump)?.[0] ?? ''
}

test('an operator’s image with our programs in it runs the command', async () => {
  const session = await api.create({ command: 'cat /etc/image-name; node --version', image: 'custom' })
  expect(await api.ended(session.sessionId)).toMatchObject({ status: 'succeeded' })
  expect((await api.logs(session.sessionId)).toString()).toMatch(/^an image of our own\r\nv20\./)
})

test('an image that is not on the list is refused with the list', async () => {
  const refused = api.create({ command: 'true', image: 'docker.io/library/busybox' })
  await expect(refused).rejects.toMatchObject({ status: 400, message: expect.stringContaining('custom') })
})

if (state.images['ttyd'] === undefined) {
  test('no image with its own ttyd: name one in E2E_TTYD_IMAGE', () => expect(state.images['ttyd']).toBeUndefined())
} else {
  test('an image with its own ttyd is a terminal as soon as it listens, and takes no command', async () => {
    await expect(api.create({ command: 'true', image: 'ttyd' })).rejects.toMatchObject({ status: 400 })
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
    expect((await api.get(session.sessionId)).status).toBe('running')
    expect((await podsOf(session.sessionId)).flatMap((pod) => podSecurityFindings(pod as unknown as PodShape))).toEqual(
      [],
    )
    await stop(session)
    expect(await api.ended(session.sessionId)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
  })
}
