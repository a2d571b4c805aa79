import { once } from 'node:events'
import net from 'node:net'

/** What is kept of a PostgreSQL message: type byte and 4 length bytes stand before its body. */
const HEADER = 5

export interface PgProxy extends AsyncDisposable {
  readonly port: number
  /**
   * Arms the proxy: on the next connection that sends a statement matching `statement`, the answer to COMMIT is held
   * back, the connection is cut, and `hit` is called. The commit has happened; whoever sent it never learns.
   */
  cutAtCommit(statement: RegExp, hit: () => void): void
}

/** A TCP proxy in front of a PostgreSQL on a Unix socket that can lose the answer to one COMMIT. */
export async function startPgProxy(socketPath: string, port = 0): Promise<PgProxy> {
  let armed: { statement: RegExp; hit: () => void } | undefined
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    const backend = net.connect(socketPath)
    for (const socket of [client, backend]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        backend.destroy()
      })
    }
    let marked = false
    client.on('data', (chunk: Buffer) => {
      if (armed?.statement.test(chunk.toString('latin1'))) marked = true
      backend.write(chunk)
    })
    let pending = Buffer.alloc(0)
    backend.on('data', (chunk: Buffer) => {
      if (marked && armed) {
        pending = Buffer.concat([pending, chunk])
        if (holdsCommit(pending)) {
          const { hit } = armed
          armed = undefined
          client.destroy()
          return hit()
        }
      }
      client.write(chunk)
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    cutAtCommit: (statement, hit) => (armed = { statement, hit }),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Whether a CommandComplete message with the tag COMMIT is among these (PostgreSQL protocol 3.0). */
function holdsCommit(bytes: Buffer): boolean {
  for (let at = 0; at + HEADER <= bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) {
    if (bytes[at] === 0x43 && bytes.subarray(at + HEADER, at + HEADER + 6).toString() === 'COMMIT') return true
  }
  return false
}
