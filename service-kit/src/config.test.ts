import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { ConfigError, commaList, describeEnv, parseEnv, secret, trueOrFalse, wholeNumber } from './config.ts'

const Schema = z.object({
  CLISCALE_PORT: wholeNumber(0, 65_535).default(7080),
  CLISCALE_HOSTS: commaList().default([]),
  CLISCALE_STRICT: trueOrFalse().default(false),
  CLISCALE_API_KEY: secret().optional(),
})

function faultsOf(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    parseEnv(Schema, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

describe('parseEnv', () => {
  test('reports every fault at once and names each setting', () => {
    const faults = faultsOf({ CLISCALE_PORT: 'x', CLISCALE_STRICT: 'yes', CLISCALE_PROT: '1' })
    expect(faults).toEqual([
      'CLISCALE_PROT is not a setting; remove it or correct its name',
      'CLISCALE_PORT must be a whole number from 0 to 65535',
      'CLISCALE_STRICT must be true or false',
    ])
  })

  test.each(['-1', '65536', '1.5', '0x10', '1e3', ' 1', '99999999999999999999'])('refuses the port %p', (port) => {
    expect(faultsOf({ CLISCALE_PORT: port })).toEqual(['CLISCALE_PORT must be a whole number from 0 to 65535'])
  })

  test('says that a missing setting is required', () => {
    expect(() => parseEnv(z.object({ CLISCALE_DATABASE_URL: secret() }), {})).toThrow(
      'CLISCALE_DATABASE_URL is required',
    )
  })

  test('treats an empty value as absent', () => {
    expect(parseEnv(Schema, { CLISCALE_PORT: '', CLISCALE_API_KEY: '' })).toMatchObject({ CLISCALE_PORT: 7080 })
  })

  test('accepts variables that Kubernetes makes from Services, and those that a session is given', () => {
    const env = {
      CLISCALE_CONTROLLER_SERVICE_HOST: '10.0.0.1',
      CLISCALE_CONTROLLER_SERVICE_PORT_HTTP: '80',
      CLISCALE_CONTROLLER_PORT: 'tcp://10.0.0.1:80',
      CLISCALE_CONTROLLER_PORT_80_TCP: 'tcp://10.0.0.1:80',
      CLISCALE_SESSION_ID: 'x',
      CLISCALE_PROMPT: 'y',
    }
    expect(faultsOf(env)).toEqual([])
    expect(faultsOf({ CLISCALE_CONTROLLER_PORT: '80' })).toHaveLength(1)
  })

  test('reads a secret from the file that NAME_FILE names, without its final newline', () => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'config-'))
    try {
      const file = path.join(dir, 'key')
      writeFileSync(file, 'cs_key_1\n')
      expect(parseEnv(Schema, { CLISCALE_API_KEY_FILE: file }).CLISCALE_API_KEY).toBe('cs_key_1')
      expect(faultsOf({ CLISCALE_API_KEY_FILE: file, CLISCALE_API_KEY: 'b' })).toEqual([
        'CLISCALE_API_KEY and CLISCALE_API_KEY_FILE are both set; keep one',
      ])
      expect(faultsOf({ CLISCALE_API_KEY_FILE: path.join(dir, 'none') })).toEqual([
        'CLISCALE_API_KEY_FILE cannot be read (ENOENT)',
      ])
      expect(faultsOf({ CLISCALE_PORT_FILE: file })).toHaveLength(1)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})

test('describeEnv shows that a secret is set and never its value', () => {
  const values = parseEnv(Schema, { CLISCALE_API_KEY: 'cs_key_1', CLISCALE_HOSTS: 'a, ,b' })
  expect(describeEnv(Schema, values)).toEqual({
    CLISCALE_PORT: 7080,
    CLISCALE_HOSTS: ['a', 'b'],
    CLISCALE_STRICT: false,
    CLISCALE_API_KEY: 'set',
  })
})
