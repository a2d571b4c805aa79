import { access, constants } from 'node:fs/promises'
import type { WorkExit } from '../relay/messages.ts'

const PLACES = ['/bin/bash', '/usr/bin/bash', '/usr/local/bin/bash', '/opt/homebrew/bin/bash']

/** Path of bash. Throws an Error with code ENOBASH when there is none. */
export async function findBash(places: readonly string[] = PLACES): Promise<string> {
  for (const place of places) {
    const found = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return place
  }
  throw Object.assign(new Error('bash is missing'), { code: 'ENOBASH' })
}

const SENTENCES: Record<string, string> = {
  ENOBASH: 'bash was not found in the image; sessions need it.',
  ENOENT: 'The workspace folder does not exist.',
  ENOTDIR: 'The workspace is not a folder.',
  EACCES: 'The workspace folder or bash may not be used by this user.',
  ENOMEM: 'There was not enough memory to start the command.',
  EAGAIN: 'The command could not be started: too many processes.',
  E2BIG: 'Command and environment together are larger than the system allows.',
  EMFILE: 'The command could not be started: too many open files.',
  ENOSPC: 'The session ran out of disk space before the command could start.',
  EDQUOT: 'The session ran out of disk space before the command could start.',
}

/** A failure whose sentence says more than its code. */
export class LaunchFailure extends Error {
  readonly code: string
  constructor(code: string, detail: string, options?: { cause: unknown }) {
    super(detail, options)
    this.name = 'LaunchFailure'
    this.code = code
  }
}

/** What a failure to start the command is to a person. */
export function runFailure(error: unknown): {
  exitCode: null
  signal: null
  failure: NonNullable<WorkExit['failure']>
} {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? ''
  const reasons = { ENOSPC: 'disk_full', EDQUOT: 'disk_full', EINSTALL: 'install_failed' } as const
  return {
    exitCode: null,
    signal: null,
    failure: {
      reason: reasons[code as keyof typeof reasons] ?? 'launch_failed',
      detail:
        error instanceof LaunchFailure
          ? error.message
          : (SENTENCES[code] ?? `The command could not be started (${code || 'unknown error'}).`),
    },
  }
}
