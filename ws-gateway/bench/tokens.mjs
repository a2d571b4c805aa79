/**
 * `node bench/tokens.mjs [tokens=300] [connections=20]`: offers each token by many connections at once to two gateway
 * processes. Exits 1 unless each is accepted exactly once.
 */
import { once } from 'node:events'
import net from 'node:net'
import { inParallel, startPod, startRig, upgradeHead } from './rig.mjs'

const [tokenCount = 300, connections = 20] = process.argv.slice(2).map(Number)
const rig = await startRig({ gateways: 2 })
const pod = await startPod((socket) => socket.resume())
try {
  const sid = await rig.session(pod.port)
  const tokens = await rig.tokens(sid, tokenCount)
  const statuses = {}
  const accepted = Array(tokenCount).fill(0)
  // All connections of a token at once, several tokens at a time.
  await inParallel(tokenCount, 10, async (t) => {
    const sockets = Array.from({ length: connections }, (_, i) => offer(rig.gateways[i % 2].port, sid, tokens[t]))
    for (const status of await Promise.all(sockets)) {
      statuses[status] = (statuses[status] ?? 0) + 1
      if (status === 101) accepted[t] += 1
    }
  })
  const once_ = accepted.filter((n) => n === 1).length
  const twice = accepted.filter((n) => n > 1).length
  console.log(JSON.stringify({ tokens: tokenCount, connections, acceptedOnce: once_, acceptedTwice: twice, statuses }))
  process.exitCode = once_ === tokenCount ? 0 : 1
} finally {
  pod.stop()
  await rig.stop()
}

async function offer(port, sid, token) {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(upgradeHead({ port, sid, token }))
  const [chunk] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [''])])
  socket.destroy()
  return Number(/^HTTP\/1\.1 (\d+)/.exec(String(chunk))?.[1] ?? 0)
}
