import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPrinter } from './up/printer.ts'
import { Shutdown } from './up/shutdown.ts'
import { up } from './up/up.ts'
import { systemFault, UserError } from './up/user-error.ts'

/** How often we look whether npm is still there, in milliseconds. */
const PARENT_LOOK_MS = 500

/**
 * `cliscale up`: runs the whole system in the foreground of this process, with its environment, until a signal ends it.
 * Says on stderr what a person has to mend. Returns the exit code.
 *
 * @throws what nobody expected.
 */
export async function runUp(): Promise<number> {
  const shutdown = new Shutdown({ exit: (code) => process.exit(code) })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => shutdown.request())
  if (process.env['npm_lifecycle_event'] !== undefined) endWithParent(shutdown)
  // The terminal may have gone: what we say then reaches nobody, and must not end us before our children have ended.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const here = fileURLToPath(new URL('.', import.meta.url))
  try {
    return await up({
      env: process.env,
      home: os.homedir(),
      printer: createPrinter(process.stdout),
      shutdown,
      serverProgram: path.join(here, 'server.js'),
      sampleDir: path.resolve(here, '../../sample-cli'),
      elapsedMs: () => performance.now(),
    })
  } catch (error) {
    const sentence = error instanceof UserError ? error.message : systemFault(error)
    if (sentence === undefined) throw error
    process.stderr.write(`${sentence}\n`)
    return error instanceof UserError ? error.exitCode : 1
  }
}

/** A signal that npm cannot pass on, as SIGKILL, is meant for us too. */
function endWithParent(shutdown: Shutdown): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    // A closed terminal ends npm and tells us: that is one wish, not two.
    if (!shutdown.isRequested) shutdown.request()
  }, PARENT_LOOK_MS).unref()
}
