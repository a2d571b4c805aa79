/**
 * Which `Host` names this server: the loopback names with the port it listens on, and the one of the public address.
 * Against DNS rebinding: a foreign page whose name was made to lead to 127.0.0.1 still sends its own name.
 */
export function createHostCheck(options: {
  port: number
  publicUrl: string | undefined
}): (host: string | undefined) => boolean {
  const { port, publicUrl } = options
  const names = ['127.0.0.1', 'localhost', '[::1]']
  const own = new Set(names.flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])))
  if (publicUrl !== undefined) {
    const url = new URL(publicUrl)
    own.add(url.host)
    own.add(`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`)
  }
  return (host) => host !== undefined && own.has(host.toLowerCase())
}
