import { rm } from 'node:fs/promises'

/** Jest's global tear-down: stops the PostgreSQL of the run and removes its data. */
export default async function teardown(): Promise<void> {
  const running = globalThis.cliscaleTestPostgres
  if (!running) return
  await running.server.stop()
  await rm(running.dir, { recursive: true, force: true })
}
