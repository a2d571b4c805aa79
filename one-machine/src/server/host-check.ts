const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i

/**
 * Which `Host` names this server: the loopback names with any port (`ssh -L 9000:localhost:7080`), and the one of the
 * public address. Against DNS rebinding: a foreign page whose name was made to lead to 127.0.0.1 still sends its own name.
 */
export function createHostCheck(options: { publicUrl: string | undefined }): (host: string | undefined) => boolean {
  const { publicUrl } = options
  const own = new Set<string>()
  if (publicUrl !== undefined) {
    const url = new URL(publicUrl)
    own.add(url.host)
    own.add(`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`)
  }
  return (host) => host !== undefined && (LOOPBACK.test(host) || own.has(host.toLowerCase()))
}
