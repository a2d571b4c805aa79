#!/usr/bin/env node
/** The `cliscale` command. What the system refuses while its code is loaded is told as what it refuses later. */
import { systemFault } from './up/user-error.ts'

try {
  await import('./command.ts')
} catch (error) {
  const sentence = systemFault(error)
  if (sentence === undefined) throw error
  process.stderr.write(`${sentence}\n`)
  process.exitCode = 1
}
