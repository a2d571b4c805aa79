import { expect, test } from '@jest/globals'
import { CONTROLLER_PROCESS_ENV } from '@cliscale/controller'
import { ConfigError, parseEnv } from '@cliscale/service-kit'
import { GATEWAY_PROCESS_ENV } from '@cliscale/ws-gateway'
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

test('requires no setting', () => {
  expect(parseEnv(upSchema, { PATH: '/bin' })).toMatchObject({
    CLISCALE_PORT: 7080,
    CLISCALE_SESSIONS_PER_MINUTE: 120,
  })
})

test('treats an empty value as absent', () => {
  expect(faults({ CLISCALE_PORT: '', CLISCALE_API_KEY: '', CLISCALE_DATABASE_URL: '' })).toEqual([])
  expect(isGiven({ CLISCALE_API_KEY: '' }, 'CLISCALE_API_KEY')).toBe(false)
})

test('accepts settings of the controller and of the gateway, and reports all other faults together', () => {
  const env = { CLISCALE_RETENTION_HOURS: '0', CLISCALE_VIEWER_TTL_SECONDS: 'x', CLISCALE_RETENTION: '1' }
  expect(
    faults(env)
      .map((fault) => fault.split(' ')[0])
      .sort(),
  ).toEqual(['CLISCALE_RETENTION', 'CLISCALE_RETENTION_HOURS', 'CLISCALE_VIEWER_TTL_SECONDS'])
})

test('refuses a setting that has no meaning on one machine', () => {
  expect(faults({ CLISCALE_POD_NETWORKS: '10.0.0.0/8' })).toEqual([
    'CLISCALE_POD_NETWORKS is not a setting; remove it or correct its name',
  ])
})

test('accepts what a session is given, because cliscale up may be started inside a session', () => {
  expect(faults({ CLISCALE_SESSION_ID: 'x', CLISCALE_PROMPT: 'y' })).toEqual([])
})

test('gives the server only the CLISCALE_ variables with a value, without those of the supervisor', () => {
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

test('a setting that controller and gateway share is defined once; only their ports differ', () => {
  const ofGateway: Record<string, unknown> = GATEWAY_PROCESS_ENV
  const shared = Object.entries(CONTROLLER_PROCESS_ENV).filter(([name]) => name in ofGateway)
  const different = shared.filter(([name, field]) => ofGateway[name] !== field).map(([name]) => name)
  expect(shared.length).toBeGreaterThan(7)
  expect(different).toEqual(['CLISCALE_PORT'])
})
