// The program of the pods of `helm test`: tries what a plan names and fails when the network lets through what it must
// not, or keeps away what it should not. Usage: node probe.mjs <plan.json>
import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import net from 'node:net'

/** A packet that a policy drops is answered by nobody. */
const CONNECT_MS = 2_000
/** Some clusters enforce a policy a moment after the pod has started; no cluster may take longer than this. */
const SETTLE_MS = Number(process.env.PROBE_SETTLE_MS ?? 20_000)

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'))
if (plan.listen !== undefined) {
  const server = createServer((_request, response) => response.end('listener\n'))
  // Dual-stack where the pod has both.
  server.listen(plan.listen)
  // As process 1 it would ignore the signal.
  process.on('SIGTERM', () => process.exit(0))
} else {
  const faults = (
    await Promise.all([...(plan.refused ?? []).map(isRefused), ...(plan.allowed ?? []).map(isAllowed)])
  ).flat()
  for (const fault of faults) console.error(`FAILED: ${fault}`)
  console.log(
    faults.length === 0 ? 'All as it should be.' : `${faults.length} of the promises are not kept by this cluster.`,
  )
  process.exitCode = faults.length === 0 ? 0 : 1
}

async function isRefused({ what, address }) {
  const until = Date.now() + SETTLE_MS
  let outcome
  do {
    outcome = await connect(address)
    if (!outcome.connected) {
      console.log(`refused, as it should be: ${what} (${address}): ${outcome.why}`)
      return []
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  } while (Date.now() < until)
  return [`${what} (${address}) can be reached; network policies are not enforced here, or one is missing`]
}

async function isAllowed({ what, address, withinMs = CONNECT_MS }) {
  const until = Date.now() + SETTLE_MS
  let outcome
  do {
    outcome = await connect(address)
    if (outcome.connected && outcome.ms <= withinMs) {
      console.log(`reached, as it should be: ${what} (${address}) in ${outcome.ms} ms`)
      return []
    }
    await new Promise((resolve) => setTimeout(resolve, 500))
  } while (Date.now() < until)
  const why = outcome.connected ? `it took ${outcome.ms} ms` : outcome.why
  return [`${what} (${address}) cannot be reached within ${withinMs} ms: ${why}`]
}

/** A name that does not resolve counts as not connected, so that DNS is part of what is allowed. */
async function connect(address) {
  const began = Date.now()
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '')
  try {
    const ip = net.isIP(host) ? host : (await lookup(host)).address
    return await new Promise((resolve) => {
      const socket = net.connect({ host: ip, port: Number(address.slice(colon + 1)) })
      const end = (result) => {
        socket.destroy()
        resolve({ ...result, ms: Date.now() - began })
      }
      socket.setTimeout(CONNECT_MS, () => end({ connected: false, why: 'no answer' }))
      socket.once('error', (error) => end({ connected: false, why: error.code }))
      socket.once('connect', () => end({ connected: true }))
    })
  } catch (error) {
    return { connected: false, why: `${error.code ?? error.message} (DNS)`, ms: Date.now() - began }
  }
}
