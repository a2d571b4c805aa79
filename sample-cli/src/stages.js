/** The staged part: each stage does something real and says what it found. */
import { readFile, readdir } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Listr } from 'listr2'

/** What an eye can follow; the work itself is faster. */
const PACE_MS = 450

/** Runs all stages and resolves to what they found out. */
export async function stages() {
  const facts = {}
  const list = new Listr(
    [
      { title: 'Look at the machine', task: (_, task) => task.newListr(machine(facts), { concurrent: false }) },
      { title: 'Read the code in this folder', task: (_, task) => readCode(task, facts) },
      { title: 'Count the primes below 2,000,000', task: (_, task) => countPrimes(task, facts) },
    ],
    { concurrent: false, registerSignalListeners: false, rendererOptions: { collapseSubtasks: false } },
  )
  await list.run()
  return facts
}

function machine(facts) {
  const look = (title, find) => ({
    title,
    task: async (_, task) => {
      await sleep(PACE_MS)
      task.title = `${title}: ${find()}`
    },
  })
  return [
    look(
      'System',
      () => (facts.system = `${os.type()} ${os.release()} on ${os.arch()}, Node ${process.versions.node}`),
    ),
    look(
      'Processors',
      () => (facts.processors = `${os.availableParallelism()} of ${os.cpus()[0]?.model ?? 'unknown kind'}`),
    ),
    look('Memory', () => (facts.memory = `${gib(os.freemem())} free of ${gib(os.totalmem())}`)),
  ]
}

const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`

async function readCode(task, facts) {
  const files = (await readdir('.', { recursive: true })).filter(
    (name) => /\.(m?js|json|md)$/.test(name) && !name.split(path.sep).includes('node_modules'),
  )
  let lines = 0
  for (const [i, name] of files.entries()) {
    lines += (await readFile(name, 'utf8')).split('\n').length
    task.output = `${i + 1} of ${files.length}: ${name}`
    await sleep(Math.min(120, 1200 / files.length))
  }
  facts.code = `${files.length} files, ${lines} lines`
  task.title = `Read the code in this folder: ${facts.code}`
}

/** A sieve, in slices that leave room for the progress line. */
async function countPrimes(task, facts) {
  const limit = 2_000_000
  const composite = new Uint8Array(limit)
  const slices = 25
  let count = 0
  for (let slice = 0; slice < slices; slice++) {
    const end = (limit / slices) * (slice + 1)
    for (let n = Math.max(2, (limit / slices) * slice); n < end; n++) {
      if (composite[n]) continue
      count++
      for (let m = n * n; m < limit; m += n) composite[m] = 1
    }
    task.output = `${bar((slice + 1) / slices)} ${count.toLocaleString('en')} so far`
    await sleep(90)
  }
  facts.primes = count
  task.title = `Count the primes below 2,000,000: ${count.toLocaleString('en')}`
}

function bar(share, width = 28) {
  const full = Math.round(share * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${String(Math.round(share * 100)).padStart(3)} %`
}
