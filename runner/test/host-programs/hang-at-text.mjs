// Preloaded into a host: its event loop stands still for ever as soon as its screen is to draw a certain text.
import { writeFileSync } from 'node:fs'
import { isMainThread, Worker } from 'node:worker_threads'

if (isMainThread) {
  const postMessage = Reflect.get(Worker.prototype, 'postMessage')
  Worker.prototype.postMessage = function (message, ...rest) {
    if (!Buffer.from(message.bytes ?? []).includes('HANG')) return postMessage.call(this, message, ...rest)
    writeFileSync(process.env.HANG_SIGN, '')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
}
