import { chmod, lstat, unlink } from 'node:fs/promises'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Listens on a Unix socket of mode 0660: in a pod, the host is another user of the same group; on one machine nobody else
 * gets into its folder. The socket of an earlier life is removed.
 * @throws Error when something else than a socket lies there, or when another process listens on it.
 */
export async function listenOnSocket(socketPath: string, accept: (socket: net.Socket) => void): Promise<net.Server> {
  const found = await lstat(socketPath).catch(() => undefined)
  if (found !== undefined) {
    if (!found.isSocket()) throw new Error('CLISCALE_WORK_SOCKET names something that is not a socket')
    if (await isAlive(socketPath)) throw new Error('another process listens on CLISCALE_WORK_SOCKET')
    await unlink(socketPath)
  }
  const server = net.createServer(accept)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  await chmod(socketPath, 0o660)
  return server
}

async function isAlive(socketPath: string): Promise<boolean> {
  const socket = net.connect(socketPath)
  const answer = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  const alive = await Promise.race([answer, sleep(2000, true, { ref: false })])
  socket.destroy()
  return alive
}
