import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { type ConfigError, describeEnv, parseEnv } from '@cliscale/service-kit'
import { z } from 'zod'
import { CONTROLLER_PROCESS_ENV, controllerSettings } from './config.ts'
import { type ApiKey, findOwner, readApiKeys } from './identity/api-keys.ts'
import { generateSigningKey } from './tokens/signer.ts'

const schema = z.object(CONTROLLER_PROCESS_ENV)
const GOOD = {
  CLISCALE_DATABASE_URL: 'postgres://user:canary-pw@127.0.0.1/db',
  CLISCALE_API_KEY: 'cs_key_canary-one,cs_key_canary-two',
  CLISCALE_DATA_KEY: randomBytes(32).toString('base64'),
  CLISCALE_SIGNING_KEY: await generateSigningKey(),
}

function faultsOf(env: Record<string, string>): string {
  try {
    parseEnv(schema, env)
  } catch (error) {
    return (error as ConfigError).faults.join('\n')
  }
  return ''
}

describe('the configuration', () => {
  test('has defaults for everything except the four secrets', () => {
    const settings = controllerSettings(parseEnv(schema, GOOD), { localFolders: false })
    expect(settings).toMatchObject({
      publicUrl: undefined,
      trustedProxyHops: 0,
      sessionsPerMinute: 5,
      maxActiveSessions: 1000,
      fetchPolicy: { codeHosts: [], unsafeHosts: [], localFolders: false },
      requireChecksum: false,
    })
    expect(faultsOf({}).match(/^CLISCALE_\w+/gm)).toEqual([
      'CLISCALE_DATABASE_URL',
      'CLISCALE_API_KEY',
      'CLISCALE_DATA_KEY',
      'CLISCALE_SIGNING_KEY',
    ])
  })

  test('makes each API key a separate owner', () => {
    const { apiKeys } = controllerSettings(parseEnv(schema, GOOD), { localFolders: false })
    const [one, two] = ['cs_key_canary-one', 'cs_key_canary-two'].map((key) => findOwner(apiKeys, key))
    expect(one).toMatch(/^key-[0-9a-f]{24}$/)
    expect(two).not.toBe(one)
    for (const key of ['', 'cs_key_canary-on', 'cs_key_canary-one ', 'cs_key_canary-one,cs_key_canary-two'])
      expect(findOwner(apiKeys, key)).toBeUndefined()
  })

  test('makes API keys with the same name one owner, and knows a key with its name and without', () => {
    const read = (text: string): ApiKey[] => readApiKeys(text, (message) => expect(message).toBeUndefined())
    const keys = read('a:old-key-1, a:new-key-1,b:other-key,nameless-key')
    const owners = ['old-key-1', 'new-key-1', 'other-key', 'nameless-key'].map((key) => findOwner(keys, key))
    expect(owners.slice(0, 3)).toEqual(['service-a', 'service-a', 'service-b'])
    expect(owners[3]).toBe(findOwner(read('nameless-key'), 'nameless-key'))
    expect(findOwner(read('a:changed-key'), 'changed-key')).toBe('service-a')
    expect(findOwner(keys, 'a:new-key-1')).toBe('service-a')
    for (const presented of ['b:new-key-1', ':new-key-1', 'a:', 'a:a:new-key-1', 'a:nameless-key', 'a'])
      expect([presented, findOwner(keys, presented)]).toEqual([presented, undefined])
  })

  test.each([
    [',', 'to 512 characters, not 0'],
    ['good-key-1,', 'to 512 characters, not 0'],
    ['a:', 'to 512 characters, not 0'],
    ['a:canary', 'to 512 characters, not 6'],
    [':good-key-1', 'a name of 1 to 32'],
    ['Team:good-key-1', 'a name of 1 to 32'],
    ['-a:good-key-1', 'a name of 1 to 32'],
    ['a-:good-key-1', 'a name of 1 to 32'],
    ['a b:good-key-1', 'a name of 1 to 32'],
    [`${'a'.repeat(33)}:good-key-1`, 'a name of 1 to 32'],
    ['a:b:good-key-1', 'only letters, digits'],
    ['good-key-1,good-key-2,good-key-1', 'the same key twice'],
    ['a:good-key-1,a:good-key-1', 'the same key twice'],
    ['a:good-key-1,b:good-key-1', 'the same key twice'],
    ['a:good-key-1,good-key-1', 'the same key twice'],
  ])('refuses the API keys %j', (keys, fault) => {
    const faults = faultsOf({ ...GOOD, CLISCALE_API_KEY: keys })
    expect(faults).toContain(fault)
    expect(faults).not.toMatch(/good-key|canary|Team/)
  })

  test('reports every fault at once, and no secret', () => {
    const faults = faultsOf({
      CLISCALE_DATABASE_URL: 'mysql://canary',
      CLISCALE_API_KEY: 'canary',
      CLISCALE_DATA_KEY: 'canary',
      CLISCALE_SIGNING_KEY: '-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----',
      CLISCALE_PUBLIC_URL: 'https://example.com/$(path)',
      CLISCALE_TRUSTED_PROXY_HOPS: 'all',
      CLISCALE_FETCH_UNSAFE_HOSTS: 'localhost',
      CLISCALE_SESIONS_PER_MINUTE: '3',
    })
    expect(faults.match(/^CLISCALE_\w+/gm)?.sort()).toEqual([
      'CLISCALE_API_KEY',
      'CLISCALE_DATABASE_URL',
      'CLISCALE_DATA_KEY',
      'CLISCALE_FETCH_UNSAFE_HOSTS',
      'CLISCALE_PUBLIC_URL',
      'CLISCALE_SESIONS_PER_MINUTE',
      'CLISCALE_SIGNING_KEY',
      'CLISCALE_TRUSTED_PROXY_HOPS',
    ])
    expect(faults).not.toContain('canary')
  })

  test('shows only that its secrets are set', () => {
    const shown = JSON.stringify(describeEnv(schema, parseEnv(schema, GOOD)))
    expect(shown).toContain('"CLISCALE_DATABASE_URL":"set"')
    expect(shown).not.toMatch(/canary|PRIVATE|hash/)
  })
})
