import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parseEnv } from '@cliscale/service-kit'
import { z } from 'zod'
import { CONTROLLER_PROCESS_ENV, backendOf, ROTATION_ENV } from '../../controller/src/config.ts'
import { parseSessionTemplate } from '../../controller/src/launch/kubernetes/session-template.ts'
import { GATEWAY_PROCESS_ENV } from '../../ws-gateway/src/config.ts'
import { caseNamed, type KubeObject, objectsOf, textOf, VALUES_CASES, whyNoHelm } from './helm.ts'
import { type Container, podTemplates } from './pods.ts'

const SCHEMAS = { controller: z.object(CONTROLLER_PROCESS_ENV), gateway: z.object(GATEWAY_PROCESS_ENV) }
/** Variables that programs without a schema read. */
const JOB_SETTINGS: Record<string, readonly string[]> = {
  migration: ['CLISCALE_DATABASE_URL', 'CLISCALE_DATABASE_URL_FILE', 'CLISCALE_GATEWAY_DATABASE_USER'],
  rotate: Object.keys(ROTATION_ENV),
}
JOB_SETTINGS['wait-for-migration'] = JOB_SETTINGS['wait-for-database'] = JOB_SETTINGS['migration']!

/** Names that look like secrets, with values in plain text. */
function openSecrets(objects: readonly KubeObject[]): string[] {
  return podTemplates(objects).flatMap((pod) =>
    pod.containers.flatMap(({ name, env = [] }) =>
      env
        .filter((one) => one.valueFrom !== undefined || isOpenSecret(one.name, one.value ?? ''))
        .map((one) => `${pod.owner} ${name} ${one.name}`),
    ),
  )
}

function isOpenSecret(name: string, value: string): boolean {
  if (/:\/\/[^@/]*:[^@/]*@/.test(value)) return true
  return /PASSWORD$|TOKEN$|_KEY$|SECRET$/.test(name) && name !== 'CLISCALE_SIGNING_KEY_SECRET'
}

describe('the checker of plain-text secrets', () => {
  const pod = (env: object) => [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'a' },
      spec: { containers: [{ name: 'main', env: [env] }] },
    },
  ]
  test.each([
    { name: 'DATABASE', value: 'postgres://user:pass@host/db' },
    { name: 'POSTGRES_PASSWORD', value: 'x' },
    { name: 'CLISCALE_API_KEY', value: 'x' },
    { name: 'ANY', valueFrom: { secretKeyRef: { name: 'a', key: 'b' } } },
  ])('finds $name', (env) => {
    expect(openSecrets(pod(env))).toEqual([`Pod a main ${env.name}`])
  })
  test.each([
    { name: 'CLISCALE_API_KEY_FILE', value: '/etc/key' },
    { name: 'DATABASE', value: 'postgres://user%40x@127.0.0.1/db' },
  ])('accepts $name', (env) => {
    expect(openSecrets(pod(env))).toEqual([])
  })
})

if (whyNoHelm !== undefined) console.log(`The chart's settings are not looked at: ${whyNoHelm}.`)
else {
  let dir = ''
  beforeAll(() => {
    VALUES_CASES.forEach(objectsOf)
    dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-settings-'))
  }, 120_000)
  afterAll(() => rmSync(dir, { recursive: true }))

  /** The environment of a container, with files for what the chart mounts. */
  const environmentOf = (container: Container): Record<string, string> => {
    const secrets: Record<string, string> = {
      CLISCALE_DATABASE_URL_FILE: 'postgres://user:pass@host/db',
      CLISCALE_API_KEY_FILE: 'cs_key_0123456789',
      CLISCALE_DATA_KEY_FILE: Buffer.alloc(32).toString('base64'),
    }
    const env = Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value ?? '']))
    for (const [name, text] of Object.entries(secrets))
      if (env[name] !== undefined) writeFileSync((env[name] = path.join(dir, name)), text)
    return env
  }

  describe.each(VALUES_CASES)('the settings that $name gives', (given) => {
    const containers = () => podTemplates(objectsOf(given)).flatMap((pod) => pod.containers)

    test.each(['controller', 'gateway'] as const)('are all accepted by the %s', (name) => {
      const env = environmentOf(containers().find((container) => container.name === name)!)
      // The key's form has its own tests; here a key would have to be made.
      delete env['CLISCALE_SIGNING_KEY_FILE']
      const schema = name === 'controller' ? SCHEMAS.controller.omit({ CLISCALE_SIGNING_KEY: true }) : SCHEMAS.gateway
      const settings = parseEnv(schema, env)
      expect(settings).toMatchObject({
        CLISCALE_LISTEN_ADDRESS: '0.0.0.0',
        CLISCALE_PORT: name === 'controller' ? 7080 : 7081,
      })
      if (name === 'controller')
        expect(backendOf(settings as Parameters<typeof backendOf>[0])).toMatchObject({
          kind: 'cluster',
          instance: given.release,
        })
    })

    test('are all known to the programs of Jobs', () => {
      for (const { name, env = [] } of containers()) {
        const known = JOB_SETTINGS[name]
        const ours = env.map((one) => one.name).filter((one) => one.startsWith('CLISCALE_'))
        if (known === undefined) expect(['controller', 'gateway'].includes(name) || ours.length === 0).toBe(true)
        else expect(ours.filter((one) => !known.includes(one))).toEqual([])
      }
    })

    test('are accepted by the rotation of keys', () => {
      const rotate = containers().find(({ name }) => name === 'rotate')!
      expect(parseEnv(z.object(ROTATION_ENV), environmentOf(rotate))).toMatchObject({
        CLISCALE_SIGNING_KEY_NAMESPACE: given.namespace,
      })
    })

    test('contain no secret in plain text', () => {
      expect(openSecrets(objectsOf(given))).toEqual([])
    })

    test('contain a template of sessions that the controller can read', () => {
      const map = objectsOf(given).find(({ metadata }) => metadata.name.endsWith('-session-template'))!
      const template = parseSessionTemplate(map['data']['session.json'])
      expect(template.serviceAccountName).toMatch(/-session$/)
    })
  })

  describe('the values', () => {
    test('put their keys into Secrets and nowhere else', () => {
      const objects = objectsOf(caseNamed('everything'))
      const inSecrets = objects.filter(({ kind }) => kind === 'Secret').map(({ data }) => data)
      expect(inSecrets).toEqual([
        { API_KEY: Buffer.from('cs_key_canaryOfTheApiKey0001,cs_key_canaryOfTheApiKey0002').toString('base64') },
        { DATA_KEY: Buffer.from('Y2FuYXJ5LW9mLXRoZS1kYXRhLWtleS0tMDAwMDAwMDE=').toString('base64') },
      ])
      expect(textOf(caseNamed('everything'))).not.toMatch(/canaryOfTheApiKey|Y2FuYXJ5LW9m/)
    })

    test('an unknown name is found', () => {
      expect(() => parseEnv(SCHEMAS.gateway, { CLISCALE_JWKS_URI: 'x' })).toThrow(/CLISCALE_JWKS_URI is not a setting/)
    })
  })
}
