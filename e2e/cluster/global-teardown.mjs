import { once } from 'node:events'

export default async function tearDown() {
  const internet = globalThis.cliscaleInternet
  if (!internet || internet.exitCode !== null || internet.signalCode !== null) return
  const gone = once(internet, 'exit')
  internet.stdin.end()
  await gone
}
