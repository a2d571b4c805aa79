import { describe, expect, test } from '@jest/globals'
import { ConfigError, parseEnv } from '@cliscale/service-kit'
import { drainFault, gatewayProcessSchema, gatewaySettings } from './config.ts'

const schema = gatewayProcessSchema
const NEEDED = {
  CLISCALE_DATABASE_URL: 'postgres://u@h/d',
  CLISCALE_JWKS_URL: 'http://controller:7080/.well-known/jwks.json',
}

describe('the configuration', () => {
  test('needs a database and keys, and has defaults for the rest', () => {
    const env = parseEnv(schema, NEEDED)
    expect(env.CLISCALE_POD_NETWORKS).toEqual([])
    expect(gatewaySettings(env)).toEqual({
      publicUrl: undefined,
      trustedProxyHops: 0,
      frameAncestors: [],
      viewerTtlSeconds: 604_800,
      maxPendingUpgrades: 8192,
      maxPendingUpgradesPerAddress: 4096,
    })
  })

  test.each([
    [{}, undefined],
    [{ CLISCALE_LAME_DUCK_SECONDS: '20' }, undefined],
    [{ CLISCALE_LAME_DUCK_SECONDS: '21' }, 'CLISCALE_LAME_DUCK_SECONDS must be at least 5 less'],
    [{ CLISCALE_DRAIN_SECONDS: '9' }, 'CLISCALE_LAME_DUCK_SECONDS must be at least 5 less'],
  ])('leaves time for an orderly end after the lame-duck time: %p', (env, fault) => {
    const found = drainFault(parseEnv(schema, { ...NEEDED, ...env }))
    expect(found?.slice(0, fault?.length)).toBe(fault)
  })

  test('reports all its faults at once', () => {
    const env = {
      CLISCALE_DATABASE_URL: 'mysql://x',
      CLISCALE_PUBLIC_URL: 'ftp://x',
      CLISCALE_FRAME_ANCESTORS: '*',
      CLISCALE_POD_NETWORKS: '10.0.0.0/8,pods',
      CLISCALE_TRUSTED_PROXY_HOPS: '-1',
      CLISCALE_PORTS: '1',
    }
    const faults = (): unknown => parseEnv(schema, env)
    expect(faults).toThrow(ConfigError)
    for (const name of [...Object.keys(env), 'CLISCALE_JWKS_URL']) expect(faults).toThrow(name)
  })
})
