import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type System, startSystem } from '../src/system.ts'
import { CollectingViewer } from '../src/viewer.ts'

const RUNS = 200
const AT_ONCE = 5
const EXPECTED = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\r\n`).join('')

let system: System
beforeAll(async () => {
  system = await startSystem()
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
})

test(`"seq 1 20000; exit 3" in ${RUNS} runs, ${AT_ONCE} at a time: each is complete in the log and at a viewer, and ends with 3`, async () => {
  const whole = { logs: 0, viewer: 0, code: 0 }
  const run = async (): Promise<void> => {
    const session = await system.create({ command: 'seq 1 20000; exit 3' })
    await using viewer = new CollectingViewer(system.base, session.sessionId)
    viewer.start(session.sessionJWT)
    const exit = await viewer.finished(60_000)
    const view = await system.ended(session.sessionId)
    if ((await system.logs(session.sessionId)).toString() === EXPECTED) whole.logs++
    if (viewer.bytes.toString() === EXPECTED) whole.viewer++
    if (exit.exitCode === 3 && view.exitCode === 3 && view.status === 'failed' && view.reason === 'exit_nonzero')
      whole.code++
  }
  let left = RUNS
  const lane = async (): Promise<void> => {
    while (left-- > 0) await run()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  expect(whole).toEqual({ logs: RUNS, viewer: RUNS, code: RUNS })
}, 480_000)
