import net from 'node:net'
import type { Problem } from '@cliscale/contract'

/** Sends bytes to a port of this machine and returns all that comes back until the other side closes, or `limitMs`. */
export function exchange(port: number, bytes: string | Buffer, limitMs = 5_000): ReturnType<typeof readAll> {
  const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes))
  return readAll(socket, limitMs)
}

/** All that comes from a socket until the other side closes, or `limitMs`. */
export function readAll(socket: net.Socket, limitMs = 5_000): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const finish = (closed: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ text: Buffer.concat(chunks).toString('latin1'), closed })
    }
    const timer = setTimeout(() => finish(false), limitMs)
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => finish(true))
    socket.on('close', () => finish(true))
  })
}

/** Status and problem document of a raw answer. */
export function readProblem(text: string): { status: number; head: string; problem: Problem } {
  const [head = '', body = ''] = text.split('\r\n\r\n', 2)
  return { status: Number(head.split(' ')[1]), head, problem: JSON.parse(body) as Problem }
}
