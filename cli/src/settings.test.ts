import { expect, test } from '@jest/globals'
import { ConfigError, parseEnv } from '@cliscale/service-kit'
import { isGiven, serverEnvironment, upSchema } from './settings.ts'

function faults(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    parseEnv(upSchema, env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

test('nothing has to be set', () => {
  expect(parseEnv(upSchema, { PATH: '/bin' })).toMatchObject({
    CLISCALE_PORT: 7080,
    CLISCALE_SESSIONS_PER_MINUTE: 120,
  })
})

test('an empty value counts as absent', () => {
  expect(faults({ CLISCALE_PORT: '', CLISCALE_API_KEY: '', CLISCALE_DATABASE_URL: '' })).toEqual([])
  expect(isGiven({ CLISCALE_API_KEY: '' }, 'CLISCALE_API_KEY')).toBe(false)
})

test('settings of the controller and of the gateway are known; others are faults, and all faults come together', () => {
  const env = { CLISCALE_RETENTION_HOURS: '0', CLISCALE_VIEWER_TTL_SECONDS: 'x', CLISCALE_RETENTION: '1' }
  expect(
    faults(env)
      .map((fault) => fault.split(' ')[0])
      .sort(),
  ).toEqual(['CLISCALE_RETENTION', 'CLISCALE_RETENTION_HOURS', 'CLISCALE_VIEWER_TTL_SECONDS'])
})

test('a setting that means nothing on one machine is a fault', () => {
  expect(faults({ CLISCALE_POD_NETWORKS: '10.0.0.0/8' })).toEqual([
    'CLISCALE_POD_NETWORKS is not a setting; remove it or correct its name',
  ])
})

test('what a session is given is no mistake: cliscale up may be started inside one', () => {
  expect(faults({ CLISCALE_SESSION_ID: 'x', CLISCALE_PROMPT: 'y' })).toEqual([])
})

test('the server gets our names only, without those that are the supervisor’s', () => {
  expect(
    serverEnvironment({
      PATH: '/bin',
      CLISCALE_DATA_DIR: '/d',
      CLISCALE_PORT: '1',
      CLISCALE_API_KEY_FILE: '/k',
      CLISCALE_X: '',
    }),
  ).toEqual({ CLISCALE_PORT: '1', CLISCALE_API_KEY_FILE: '/k' })
})
