import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { ControlMessage } from '@cliscale/contract'
import { expectEventually } from './launch-contract.ts'
import { call, claimed, createInternalServer, createInternalSystem, type InternalSystem } from './host-api-system.ts'

let system: InternalSystem
beforeAll(async () => {
  system = await createInternalSystem()
})
afterAll(async () => system[Symbol.asyncDispose]())

interface OpenStream {
  readonly messages: ControlMessage[]
  readonly ended: Promise<void>
  abort(): void
}

/** Reads a control stream to its end. */
async function open(base: string, id: string, credential: string): Promise<OpenStream> {
  const abort = new AbortController()
  const response = await fetch(`${base}/internal/sessions/${id}/control`, {
    headers: { authorization: `Bearer ${credential}` },
    signal: abort.signal,
  })
  expect(response.status).toBe(200)
  const messages: ControlMessage[] = []
  const ended = (async () => {
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const lines = text.split('\n')
      text = lines.pop()!
      messages.push(...lines.map((line) => JSON.parse(line) as ControlMessage))
    }
  })()
  ended.catch(() => undefined)
  return { messages, ended, abort: () => abort.abort() }
}
const types = (stream: OpenStream): string[] => stream.messages.map((message) => message.type)
const requestStop = (id: string) =>
  // A connection of its own: the request comes by another process.
  system.store.database.query('update sessions set stop_requested_at = now() where id = $1', [id])
const listeners = async (): Promise<number[]> => {
  const { rows } = await system.store.database.query(
    `select pid from pg_stat_activity where datname = current_database() and application_name = 'cliscale-signals'`,
  )
  return rows.map((row: { pid: number }) => row.pid)
}

describe('the control stream', () => {
  test('begins with a ping, delivers a stop that another process asked for, once, and ends with the session', async () => {
    const { id, claim } = await claimed(system)
    const stream = await open(system.internal.url, id, claim.reportCredential)
    await expectEventually(async () => types(stream)[0] === 'ping')
    await requestStop(id)
    await expectEventually(async () => types(stream).includes('stop'), 5_000)
    await requestStop(id)
    await system.store.pool.query(`update sessions set status = 'stopped' where id = $1`, [id])
    await stream.ended
    expect(types(stream)).toEqual(['ping', 'stop'])
  })

  test('delivers a stop that was asked for before it opened', async () => {
    const { id, claim } = await claimed(system)
    await requestStop(id)
    const stream = await open(system.internal.url, id, claim.reportCredential)
    await expectEventually(async () => types(stream).includes('stop'), 5_000)
    stream.abort()
  })

  test('ends at once when the session is over or gone', async () => {
    const { id, claim } = await claimed(system)
    await system.store.pool.query(`update sessions set status = 'lost' where id = $1`, [id])
    await (
      await open(system.internal.url, id, claim.reportCredential)
    ).ended
    const other = await claimed(system)
    await using fast = await createInternalServer(system.store, system.local.launcher, { pingMs: 50 })
    const stream = await open(fast.url, other.id, other.claim.reportCredential)
    await system.store.pool.query('delete from sessions where id = $1', [other.id])
    await stream.ended
    expect(types(stream)).not.toContain('stop')
  })

  test('delivers a stop that was notified while the listening connection was dead', async () => {
    const sessions = [await claimed(system), await claimed(system)]
    const [first, second] = await Promise.all(
      sessions.map(({ id, claim }) => open(system.internal.url, id, claim.reportCredential)),
    )
    const [before] = await listeners()
    expect(await listeners()).toHaveLength(1)
    await system.store.database.query('select pg_terminate_backend($1)', [before])
    // Whether it is heard before or after the connection is back, it must arrive well before the next ping.
    await requestStop(sessions[0]!.id)
    await expectEventually(async () => types(first!).includes('stop'), 5_000)
    await expectEventually(async () => (await listeners()).some((pid) => pid !== before), 5_000)
    await requestStop(sessions[1]!.id)
    await expectEventually(async () => types(second!).includes('stop'), 5_000)
    first!.abort()
    second!.abort()
  })

  test('keeps sending pings, and delays a lost notification by no more than one of them', async () => {
    const { id, claim } = await claimed(system)
    await using fast = await createInternalServer(system.store, system.local.launcher, { pingMs: 100 })
    const stream = await open(fast.url, id, claim.reportCredential)
    await expectEventually(async () => types(stream).length >= 4, 5_000)
    await fast.signals.close()
    await requestStop(id)
    await expectEventually(async () => types(stream).includes('stop'), 5_000)
    stream.abort()
  })

  test('forgets hosts that leave, and serves all hosts through one connection', async () => {
    const { id, claim } = await claimed(system)
    const streams = await Promise.all(
      Array.from({ length: 30 }, () => open(system.internal.url, id, claim.reportCredential)),
    )
    const { controlStreams } = system.internal.app
    await expectEventually(async () => controlStreams.size >= 30)
    expect(await listeners()).toHaveLength(1)
    await requestStop(id)
    await expectEventually(async () => streams.every((stream) => types(stream).includes('stop')))
    for (const stream of streams) stream.abort()
    await expectEventually(async () => controlStreams.size === 0)
  })

  test('ends when the API closes, and hosts come back to another process', async () => {
    const { id, claim } = await claimed(system)
    const server = await createInternalServer(system.store, system.local.launcher)
    const stream = await open(server.url, id, claim.reportCredential)
    server.app.close()
    await stream.ended
    await server[Symbol.asyncDispose]()
    const again = await open(system.internal.url, id, claim.reportCredential)
    await expectEventually(async () => types(again).length === 1)
    again.abort()
  })

  test('refuses other methods', async () => {
    const { id, claim } = await claimed(system)
    const url = `${system.internal.url}/internal/sessions/${id}/control`
    expect((await call(url, claim.reportCredential)).status).toBe(404)
  })
})
