// A screen that never answers the first request with output.
import { parentPort } from 'node:worker_threads'

parentPort.on('message', ({ type, offset }) => {
  if (type === 'parse') for (;;);
  parentPort.postMessage({ cpuMs: 0, offset, modes: '', answers: '' })
})
parentPort.postMessage({})
