import net, { BlockList } from 'node:net'

/** Decides whether an address out of the database is one that a session's pod may have. */
export interface PodNetworks {
  isAllowed(address: string): boolean
}

/**
 * @param cidrs such as `10.0.0.0/8` or `127.0.0.0/8`. Empty: every address but loopback, link-local (the metadata
 * server), unspecified and multicast ones.
 * @throws TypeError when one cannot be read.
 */
export function createPodNetworks(cidrs: readonly string[]): PodNetworks {
  const list = new BlockList()
  for (const cidr of cidrs.length > 0 ? cidrs : NEVER_A_POD) addSubnet(list, cidr)
  return {
    isAllowed: (address) => {
      const version = net.isIP(address)
      if (version === 0) return false
      return list.check(address, version === 6 ? 'ipv6' : 'ipv4') === cidrs.length > 0
    },
  }
}

const NEVER_A_POD = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/127',
  'fe80::/10',
  'fd00:ec2::254/128',
  'ff00::/8',
] as const

function addSubnet(list: BlockList, cidr: string): void {
  const [address = '', bits = ''] = cidr.split('/')
  const version = net.isIP(address)
  if (version === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (version === 6 ? 128 : 32))
    throw new TypeError(`${cidr} is not a network such as 10.0.0.0/8`)
  list.addSubnet(address, Number(bits), version === 6 ? 'ipv6' : 'ipv4')
}
