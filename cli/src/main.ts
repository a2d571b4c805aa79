#!/usr/bin/env node
/** The `cliscale` command. What the system refuses while its code is loaded is one sentence too. */

try {
  await import('./command.ts')
} catch (error) {
  // Loading hundreds of files at once is the first thing for which a system's limit is too low.
  if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error
  process.stderr.write(
    'CLI Scale cannot start, because it may not open enough files. Raise the limit with: ulimit -n 4096\n',
  )
  process.exitCode = 1
}
