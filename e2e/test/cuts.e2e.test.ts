import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type System, processesWith, startSystem } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

const SECONDS = 60
const CUTS = 30

let system: System
beforeAll(async () => {
  system = await startSystem()
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
})

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

test(`a program prints for ${SECONDS} s while its viewer is cut ${CUTS} times, the server killed 3 times and its host once: no byte is lost or doubled`, async () => {
  // About 200 lines a second, numbered, then the number of the last one.
  const command = `end=$((SECONDS+${SECONDS})); n=0; while [ $SECONDS -lt $end ]; do for i in 1 2 3 4 5 6 7 8 9 10; do n=$((n+1)); echo "line $n of the program"; done; sleep 0.05; done; echo "last $n"`
  const session = await system.create({ command, timeout_seconds: SECONDS + 60 })
  await using viewer = new CollectingViewer(system.base, session.sessionId)
  viewer.start(session.sessionJWT)

  for (let step = 1; step <= CUTS; step++) {
    await sleep((SECONDS * 1000) / (CUTS + 2))
    viewer.cut()
    if (step === 8 || step === 16 || step === 24) process.kill(await system.serverPid(), 'SIGKILL')
    if (step === 12) for (const pid of await hostsOf(session.sessionId)) process.kill(pid, 'SIGKILL')
  }
  const exit = await viewer.finished(60_000)
  expect(exit).toMatchObject({ status: 'succeeded', exitCode: 0 })
  await system.ended(session.sessionId)

  const seen = viewer.bytes.toString()
  const last = Number(/last (\d+)\r\n$/.exec(seen)?.[1])
  expect(last).toBeGreaterThan(1000)
  const expected =
    Array.from({ length: last }, (_, i) => `line ${i + 1} of the program\r\n`).join('') + `last ${last}\r\n`
  expect(sha256(seen)).toBe(sha256(expected))
  expect(sha256(await system.logs(session.sessionId))).toBe(sha256(expected))
  expect(viewer.connections).toBeGreaterThan(CUTS / 2)
})

/** The host process of one session: the one whose environment names its spool. */
async function hostsOf(sessionId: string): Promise<number[]> {
  const { readFile } = await import('node:fs/promises')
  const found: number[] = []
  for (const pid of await processesWith('programs/host.js')) {
    const environ = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (environ.includes(sessionId)) found.push(pid)
  }
  expect(found).toHaveLength(1)
  return found
}
