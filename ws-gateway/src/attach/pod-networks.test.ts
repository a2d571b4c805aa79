import { describe, expect, test } from '@jest/globals'
import { createPodNetworks } from './pod-networks.ts'

describe('addresses of pods', () => {
  test.each([
    ['10.1.2.3', true],
    ['192.168.1.1', true],
    ['2600:1900::5', true],
    ['127.0.0.1', false],
    ['0.0.0.0', false],
    ['169.254.169.254', false],
    ['224.0.0.1', false],
    ['255.255.255.255', false],
    ['::1', false],
    ['::', false],
    ['::ffff:127.0.0.1', false],
    ['::ffff:169.254.169.254', false],
    ['fe80::1', false],
    ['fd00:ec2::254', false],
    ['localhost', false],
    ['metadata.google.internal', false],
    ['', false],
    ['127.1', false],
  ])('without a list %s is allowed: %p', (address, isAllowed) => {
    expect(createPodNetworks([]).isAllowed(address)).toBe(isAllowed)
  })

  test.each([
    ['10.4.0.1', true],
    ['::ffff:10.4.0.1', true],
    ['10.5.0.1', false],
    ['127.0.0.1', false],
    ['fd12::1', true],
  ])('with a list %s is allowed: %p', (address, isAllowed) => {
    expect(createPodNetworks(['10.4.0.0/16', 'fd12::/16']).isAllowed(address)).toBe(isAllowed)
  })

  test.each([['10.0.0.0'], ['10.0.0.0/33'], ['pods/8'], ['10.0.0.0/-1'], ['::/129']])('%s is not a network', (cidr) => {
    expect(() => createPodNetworks([cidr])).toThrow(TypeError)
  })
})
