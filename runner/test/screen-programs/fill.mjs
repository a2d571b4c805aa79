// A screen that fills its memory with the first output.
import { parentPort } from 'node:worker_threads'

const kept = []
parentPort.on('message', ({ type, offset }) => {
  while (type === 'parse') kept.push(Array.from({ length: 10_000 }, () => ({ kept })))
  parentPort.postMessage({ cpuMs: 0, offset, modes: '', answers: '' })
})
parentPort.postMessage({})
