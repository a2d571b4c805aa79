/**
 * Which IP addresses sessions may fetch from. A list of what is private is never complete, so this asks the other way
 * round: what is public.
 */
import ipaddr from 'ipaddr.js'

/**
 * What is not public in 0.0.0.0/0: IANA's special-purpose IPv4 registry, multicast and class E, and one cloud's internal
 * endpoint. The chart's network policies are made from this list too: cliscale-chart/files/non-public-networks.json.
 */
export const NON_PUBLIC_V4: readonly string[] = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Azure's wire server: looks public, answers only inside its virtual networks.
  '168.63.129.16/32',
]

/** What is not public in 2000::/3: IETF protocols with Teredo, documentation, 6to4, AS112. */
export const NON_PUBLIC_V6: readonly string[] = [
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
]

const v4Ranges = NON_PUBLIC_V4.map((range) => ipaddr.IPv4.parseCIDR(range))
const v6Ranges = NON_PUBLIC_V6.map((range) => ipaddr.IPv6.parseCIDR(range))
const v6Global = ipaddr.IPv6.parseCIDR('2000::/3')

/**
 * Whether an address is one of the public internet. The text is one that a resolver or a socket gives: four decimal
 * numbers, or IPv6 without brackets. Everything else (names, other notations, zones) is not public, nor is IPv4
 * wrapped into IPv6 in any form.
 */
export function isPublicAddress(ip: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(ip)) {
    const address = ipaddr.IPv4.parse(ip)
    return !v4Ranges.some((range) => address.match(range))
  }
  // A zone (fe80::1%eth0) names an interface of this machine.
  if (ip.includes('%') || !ipaddr.IPv6.isValid(ip)) return false
  const address = ipaddr.IPv6.parse(ip)
  return address.match(v6Global) && !v6Ranges.some((range) => address.match(range))
}
