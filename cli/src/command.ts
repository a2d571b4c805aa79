/** Runs the command line of `cliscale`. */
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { createPrinter } from './up/printer.ts'
import { Shutdown } from './up/shutdown.ts'
import { up } from './up/up.ts'
import { UserError } from './up/user-error.ts'

const EXIT_USAGE = 2
/** How often we look whether npm is still there, in milliseconds. */
const PARENT_LOOK_MS = 500

const program = new Command('cliscale')
  .description('Runs command-line programs in throw-away sessions and shows them live in a browser tab.')
  .exitOverride()

program
  .command('up')
  .description('Run the whole system on this machine, on 127.0.0.1. Settings: CLISCALE_* (see docs/one-machine.md).')
  .action(async () => {
    process.exitCode = await runUp()
  })

async function runUp(): Promise<number> {
  const shutdown = new Shutdown({ exit: (code) => process.exit(code) })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => shutdown.request())
  if (process.env['npm_lifecycle_event'] !== undefined) endWithParent(shutdown)
  // The terminal may have gone: what we say then reaches nobody, and must not end us before our children have ended.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const here = fileURLToPath(new URL('.', import.meta.url))
  return up({
    env: process.env,
    home: os.homedir(),
    printer: createPrinter(process.stdout),
    shutdown,
    serverProgram: path.join(here, 'server.js'),
    sampleDir: path.resolve(here, '../../sample-cli'),
    elapsedMs: () => performance.now(),
  })
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

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE
  else if (error instanceof UserError) {
    process.stderr.write(`${error.message}\n`)
    process.exitCode = error.exitCode
  } else throw error
}
