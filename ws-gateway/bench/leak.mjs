/**
 * `node bench/leak.mjs [cycles=20000]`: clients that connect and leave in six ways. Exits 1 unless the gateway holds no
 * more sockets and timers afterwards than before, and its memory has stopped growing.
 */
import { once } from 'node:events'
import net from 'node:net'
import { inParallel, startPod, startRig, upgradeHead } from './rig.mjs'

const cycles = Number(process.argv[2] ?? 20_000)
const WIDTH = 24
const MAX_GROWTH_BYTES = 12e6
const frame = Buffer.concat([Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Buffer.alloc(65_536, '0')])

const rig = await startRig()
const [gateway] = rig.gateways
const pods = {
  answering: await startPod((socket) => socket.resume()),
  flooding: await startPod(flood),
  silent: await startPod(),
}
const dead = await startPod()
dead.stop()
const targets = {}
for (const [name, { port }] of Object.entries({ ...pods, dead })) {
  const sid = await rig.session(port)
  targets[name] = upgradeHead({ port: gateway.port, sid, cookie: await rig.cookie(sid) })
}

const kinds = [
  ['before the head is whole', 'answering', async (socket, head) => void socket.write(head.slice(0, -10))],
  ['before the 101', 'answering', async (socket, head) => void socket.write(head)],
  ['after the 101', 'answering', greet],
  [
    'reset while flooded and not reading',
    'flooding',
    async (socket, head) => {
      await greet(socket, head)
      socket.pause()
      await new Promise((resolve) => setTimeout(resolve, 5))
    },
  ],
  ['back end dead', 'dead', greet],
  ['back end silent', 'silent', greet],
]
const goodbyes = [(s) => s.resetAndDestroy(), (s) => s.destroy(), (s) => s.end().resume()]

try {
  await run(Math.min(2_000, cycles))
  await idle()
  const before = await gateway.resources()
  await run(Math.floor(cycles / 2))
  await idle()
  const half = await gateway.resources()
  await run(Math.ceil(cycles / 2))
  await idle()
  const after = await gateway.resources()
  const growth = after.rssBytes - half.rssBytes
  const podSockets = Object.fromEntries(Object.entries(pods).map(([name, { sockets }]) => [name, sockets.size]))
  console.log(JSON.stringify({ cycles, before, half, after, podSockets, growthOfSecondHalfBytes: growth }, null, 1))
  const isClean =
    after.sockets <= before.sockets &&
    after.timers <= before.timers &&
    growth < MAX_GROWTH_BYTES &&
    Object.values(podSockets).every((n) => n === 0)
  console.log(isClean ? 'nothing is left' : 'SOMETHING IS LEFT')
  process.exitCode = isClean ? 0 : 1
} finally {
  for (const pod of Object.values(pods)) pod.stop()
  await rig.stop()
}

function flood(socket) {
  const more = () => {
    while (!socket.destroyed && socket.write(frame));
  }
  socket.on('drain', more)
  more()
}

async function greet(socket, head) {
  socket.write(head)
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
}

async function run(count) {
  await inParallel(count, WIDTH, async (i) => {
    const [, target, visit] = kinds[i % kinds.length]
    const socket = net.connect(gateway.port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    await visit(socket, targets[target])
    const bye = target === 'flooding' ? goodbyes[0] : goodbyes[Math.floor(i / kinds.length) % goodbyes.length]
    bye(socket)
    if (!socket.closed) await once(socket, 'close')
  })
}

/** Longer than every limit of the gateway, so that what is still there then stays. */
async function idle() {
  await new Promise((resolve) => setTimeout(resolve, 12_000))
}
