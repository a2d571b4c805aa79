import { expect, test } from '@jest/globals'
import { type Api, KEY_A, startApi } from './api-system.ts'

/** Everything that the database holds, as text: what a dump would show. */
async function dump(api: Api): Promise<string> {
  const { rows } = await api.pool.query("select tablename from pg_tables where schemaname = 'public'")
  const tables: string[] = []
  for (const { tablename } of rows as { tablename: string }[]) {
    const all = await api.pool.query(`select * from ${tablename}`)
    tables.push(
      JSON.stringify(all.rows, (_key, value: unknown) => (value instanceof Uint8Array ? asText(value) : value)),
    )
  }
  return tables.join('\n')
}

function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

test('nothing confidential in a request appears in the log, in an answer, or unencrypted in the database', async () => {
  await using api = await startApi()
  const canary = (name: string) => `canary-${name}-3f9a`
  const body = {
    command: `echo ${canary('command')}`,
    prompt: canary('prompt'),
    install_cmd: `: ${canary('install')}`,
    env: { TOKEN: canary('env') },
    code_url: `https://example.com/code.zip?signature=${canary('query')}`,
  }
  const key = { 'Idempotency-Key': 'k' }
  const answers = [
    await api.create(body, key),
    await api.create(body, key),
    await api.create({ ...body, command: `x ${canary('other')}` }, key),
    await api.create({ ...body, comand: canary('field') }),
    await api.create({ ...body, env: { 'A B': canary('bad') } }),
    await api.create({ ...body, timeout_seconds: canary('timeout') }),
    await api.create({ ...body, code_url: `https://u:${canary('password')}@example.com/a.zip` }),
    await api.create({ ...body, code_url: `http://example.com/a.zip?x=${canary('url')}` }),
    await api.call('POST', '/api/sessions', `{"command": "${canary('json')}`),
    await api.call('GET', `/api/sessions?x=${canary('search')}`, undefined, {
      Authorization: `Bearer ${canary('key')}`,
    }),
    await api.call('GET', `/api/sessions?cursor=${canary('cursor')}`),
    await api.call('GET', '/api/sessions'),
  ]
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 422, 400, 400, 400, 400, 400, 400, 401, 400, 200])
  const { sessionJWT, sessionId } = answers[0]!.json
  const shown = [
    ...answers.slice(2).map(({ text }) => text),
    (await api.call('GET', `/api/sessions/${sessionId}`)).text,
  ]
  const log = api.log.join('')
  const stored = await dump(api)
  expect(stored).toContain(sessionId)
  for (const [where, text] of Object.entries({ log, stored, shown: shown.join('\n') })) {
    expect([where, text.match(/canary-\w+/g)]).toEqual([where, null])
    expect([where, text.includes(KEY_A)]).toEqual([where, false])
    expect([where, text.includes(sessionJWT)]).toEqual([where, false])
  }
  expect(log).not.toMatch(/eyJ|\?/)
})
