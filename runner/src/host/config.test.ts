import { expect, test } from '@jest/globals'
import { readHostConfig } from './config.ts'
import { readWorkConfig } from '../worker/config.ts'

const host = {
  CLISCALE_CONTROLLER_URL: 'unix:/run/x.sock',
  CLISCALE_IDENTITY_TOKEN_FILE: '/t',
  CLISCALE_SPOOL_DIR: '/s',
  CLISCALE_WORKSPACE_DIR: '/w',
  CLISCALE_WORK_SOCKET: '/w.sock',
  CLISCALE_ENDPOINT_FILE: '/e',
}

test('reads the defaults and what a session is given', () => {
  expect(readHostConfig({ ...host, CLISCALE_SESSION_ID: 'x', PATH: '/bin' })).toEqual({
    controllerUrl: 'unix:/run/x.sock',
    identityTokenFile: '/t',
    spoolDir: '/s',
    spoolMaxBytes: 1024 ** 3,
    workspaceDir: '/w',
    workSocket: '/w.sock',
    listen: { host: '127.0.0.1', port: 0 },
    endpointFile: '/e',
    terminationMessageFile: undefined,
    endGraceMs: 110_000,
    installLimitSeconds: 1800,
  })
  expect(readHostConfig({ ...host, CLISCALE_LISTEN: '[::]:7681' }).listen).toEqual({ host: '::', port: 7681 })
})

test.each([
  ['CLISCALE_CONTROLLER_URL', 'ftp://x'],
  ['CLISCALE_CONTROLLER_URL', 'http://x/path'],
  ['CLISCALE_CONTROLLER_URL', 'unix:relative'],
  ['CLISCALE_LISTEN', '127.0.0.1'],
  ['CLISCALE_LISTEN', '127.0.0.1:70000'],
  ['CLISCALE_LISTEN', 'localhost:1'],
  ['CLISCALE_SPOOL_MAX_BYTES', '-1'],
  ['CLISCALE_SPOOL_DIR', 'spool'],
  ['CLISCALE_WORK_SOCKET', `/${'x'.repeat(120)}`],
  ['CLISCALE_SPOL_DIR', '/x'],
])('refuses %s=%s and names it', (name, value) => {
  expect(() => readHostConfig({ ...host, [name]: value })).toThrow(name)
})

test('reports everything that is missing at once', () => {
  expect(() => readHostConfig({})).toThrow(/CONTROLLER_URL[\s\S]*IDENTITY_TOKEN_FILE[\s\S]*ENDPOINT_FILE/)
  expect(() => readWorkConfig({})).toThrow(/WORK_SOCKET[\s\S]*WORKSPACE_DIR[\s\S]*HOME_DIR/)
})
