/**
 * `node bench/gateway.mjs [handshakes=3000] [idle=2000]`: authenticated handshakes (RS256, one-time row in PostgreSQL,
 * one keystroke echoed), keystrokes and idle memory through the gateway, beside the same without it. Only the ratios
 * and the CPU per handshake travel to other machines. One load engine in this process: rates are lower bounds.
 */
import { once } from 'node:events'
import net from 'node:net'
import { inParallel, quantile, startPod, startRig, upgradeHead } from './rig.mjs'

const [handshakes = 3000, idle = 2000] = process.argv.slice(2).map(Number)
const WIDTH = 32
const KEYSTROKES = 3000
/** A masked frame of one byte of input; the pod sends it back as it is. */
const keystroke = Buffer.from([0x82, 0x82, 0, 0, 0, 0, 0x30, 0x61])

const rig = await startRig()
const [gateway] = rig.gateways
const pod = await startPod((socket) => socket.pipe(socket))
try {
  const sid = await rig.session(pod.port)
  const cookie = await rig.cookie(sid)
  const viaCookie = upgradeHead({ port: gateway.port, sid, cookie })
  await inParallel(2_000, WIDTH, () => visit(gateway.port, viaCookie))
  const direct = await measureHandshakes(pod.port, () => upgradeHead({ port: pod.port, sid }))
  const tokens = await rig.tokens(sid, handshakes)
  const authenticated = await measureHandshakes(gateway.port, (i) =>
    upgradeHead({ port: gateway.port, sid, token: tokens[i] }),
  )
  const keys = { direct: await measureKeystrokes(pod.port, upgradeHead({ port: pod.port, sid })) }
  keys.gateway = await measureKeystrokes(gateway.port, viaCookie)
  const memory = await measureIdle(viaCookie)
  console.log(
    JSON.stringify(
      {
        handshakesPerSecond: {
          direct: direct.rate,
          gateway: authenticated.rate,
          ratio: ratio(authenticated.rate, direct.rate),
        },
        gatewayCpuUsPerHandshake: authenticated.cpuUs,
        handshakeMsP50: { direct: direct.p50, gateway: authenticated.p50 },
        keystrokeUs: { ...keys, ratioP50: ratio(keys.gateway.p50, keys.direct.p50) },
        idle: memory,
      },
      null,
      1,
    ),
  )
} finally {
  pod.stop()
  await rig.stop()
}

function ratio(a, b) {
  return Math.round((a / b) * 100) / 100
}

async function open(port, head) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => undefined)
  socket.write(head)
  const [answer] = await once(socket, 'data')
  if (!String(answer).startsWith('HTTP/1.1 101')) throw new Error(String(answer).split('\r\n', 1)[0])
  return socket
}

async function visit(port, head) {
  const socket = await open(port, head)
  socket.write(keystroke)
  await once(socket, 'data')
  socket.end().resume()
  await once(socket, 'close')
}

async function measureHandshakes(port, headOf) {
  const times = []
  const before = await gateway.resources()
  const startedAt = performance.now()
  await inParallel(handshakes, WIDTH, async (i) => {
    const at = performance.now()
    await visit(port, headOf(i))
    times.push(performance.now() - at)
  })
  const seconds = (performance.now() - startedAt) / 1000
  const after = await gateway.resources()
  return {
    rate: Math.round(handshakes / seconds),
    p50: Math.round(quantile(times, 0.5) * 100) / 100,
    cpuUs: Math.round((after.cpuUs - before.cpuUs) / handshakes),
  }
}

async function measureKeystrokes(port, head) {
  const socket = await open(port, head)
  const times = []
  for (let i = 0; i < KEYSTROKES; i += 1) {
    const at = performance.now()
    socket.write(keystroke)
    await once(socket, 'data')
    times.push((performance.now() - at) * 1000)
  }
  socket.destroy()
  return { p50: Math.round(quantile(times, 0.5)), p99: Math.round(quantile(times, 0.99)) }
}

async function measureIdle(head) {
  const before = await gateway.resources()
  const sockets = []
  await inParallel(idle, WIDTH, async () => {
    const socket = await open(gateway.port, head)
    socket.write(keystroke)
    await once(socket, 'data')
    sockets.push(socket)
  })
  const { rssBytes } = await gateway.resources()
  for (const socket of sockets) socket.destroy()
  return {
    connections: idle,
    baseRssMb: Math.round(before.rssBytes / 1e6),
    kbPerConnection: Math.round(((rssBytes - before.rssBytes) / idle / 1000) * 10) / 10,
  }
}
