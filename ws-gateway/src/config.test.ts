import { describe, expect, test } from '@jest/globals'
import { ConfigError, parseEnv } from '@cliscale/service-kit'
import { z } from 'zod'
import { GATEWAY_PROCESS_ENV, gatewaySettings } from './config.ts'

const schema = z.object(GATEWAY_PROCESS_ENV)
const NEEDED = {
  CLISCALE_DATABASE_URL: 'postgres://u@h/d',
  CLISCALE_JWKS_URL: 'http://controller:7080/.well-known/jwks.json',
}

describe('the configuration', () => {
  test('needs a database and keys, and has a default for the rest', () => {
    expect(gatewaySettings(parseEnv(schema, NEEDED))).toEqual({
      publicUrl: undefined,
      trustedProxyHops: 0,
      podNetworks: [],
      viewerTtlSeconds: 604_800,
      maxPendingUpgrades: 8192,
      maxPendingUpgradesPerAddress: 4096,
    })
  })

  test('tells all its faults at once', () => {
    const env = {
      CLISCALE_DATABASE_URL: 'mysql://x',
      CLISCALE_PUBLIC_URL: 'ftp://x',
      CLISCALE_POD_NETWORKS: '10.0.0.0/8,pods',
      CLISCALE_TRUSTED_PROXY_HOPS: '-1',
      CLISCALE_PORTS: '1',
    }
    const faults = (): unknown => parseEnv(schema, env)
    expect(faults).toThrow(ConfigError)
    for (const name of [...Object.keys(env), 'CLISCALE_JWKS_URL']) expect(faults).toThrow(name)
  })
})
