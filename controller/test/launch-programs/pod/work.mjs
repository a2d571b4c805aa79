// Behaves as work does in its pod, and does what the name of a file in its folder says: `eat` takes all memory.
import { existsSync, writeFileSync } from 'node:fs'
import net from 'node:net'

// Of kind ttyd it has no host.
const listenOn = process.env.CLISCALE_WORK_SOCKET ?? 7681
net.createServer((socket) => socket.on('error', () => {}).end('work')).listen(listenOn)
writeFileSync('/tmp/started', '')
writeFileSync('/session/started', '')
process.on('SIGTERM', () => process.exit(143))
const all = []
setInterval(() => {
  if (existsSync('/run/cliscale/dismiss')) process.exit(0)
  if (existsSync('/session/exit')) process.exit(7)
  while (existsSync('/session/eat')) all.push(Buffer.alloc(16 << 20, 1))
}, 50)
