import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ConfigError } from './config.ts'

const FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program',
  EACCES: 'may not be used by this user',
  EADDRNOTAVAIL: 'cannot be used: this machine does not have the address',
}

/**
 * Listens on a port that a setting names.
 *
 * @throws ConfigError with one sentence that names the setting, when the port or the address cannot be had.
 */
export function listen(
  server: Server,
  options: { readonly port: number; readonly address: string; readonly setting: string },
): Promise<AddressInfo> {
  const { port, address, setting } = options
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const fault = FAULTS[error.code ?? '']
      reject(fault === undefined ? error : new ConfigError([`${setting}: port ${port} of ${address} ${fault}`]))
    }
    server.once('error', onError)
    server.listen(port, address, () => {
      server.off('error', onError)
      resolve(server.address() as AddressInfo)
    })
  })
}
