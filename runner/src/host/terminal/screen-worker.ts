/** The thread of the session's screen: answers each request in turn. */
import { parentPort } from 'node:worker_threads'
import type { ScreenReady, ScreenRequest } from './screen-messages.ts'
import { ScreenTerminal } from './screen-terminal.ts'
import { findThreadNumber, openThreadClock } from './thread-clock.ts'

const thread = findThreadNumber()
const terminal = new ScreenTerminal(openThreadClock(thread)?.now ?? (() => performance.now()))

parentPort?.on('message', (request: ScreenRequest) => {
  const answer = terminal.handle(request)
  parentPort?.postMessage(answer, answer.snapshot ? [answer.snapshot.bytes.buffer as ArrayBuffer] : [])
})
parentPort?.postMessage({ thread } satisfies ScreenReady)
