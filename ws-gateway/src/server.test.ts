import { expect, test } from '@jest/globals'
import type { Gateway } from './gateway.ts'
import { createGatewayServer } from './server.ts'

test('keeps idle connections for longer than a load balancer with 600 s, and never ends one that is in use', () => {
  const gateway = { isLeaving: false } as unknown as Gateway
  const server = createGatewayServer({ gateway, isReady: () => Promise.resolve() })
  // A server that closes first makes the load balancer answer 502 to a request that arrives at that moment.
  expect(server.keepAliveTimeout).toBe(620_000)
  expect(server.timeout).toBe(0)
  expect(server.headersTimeout).toBeLessThan(server.requestTimeout)
  expect(server.maxRequestsPerSocket).toBe(0)
})
