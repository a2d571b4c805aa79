import { spawn } from 'node:child_process'
import { isSessionFailure, SessionFailure } from '../failure.ts'
import { askAgain } from './http-errors.ts'
import { decodeName, printable } from './refusal.ts'

export interface GitRun {
  readonly env: Record<string, string>
  readonly cwd: string
  readonly signal: AbortSignal
  /** Gets standard output as records with NUL between them or after each. What it throws ends git and is thrown on. */
  readonly onRecord?: (record: string) => void
}

/**
 * Runs git with exactly this environment; it and what it started are killed when the signal aborts.
 * @throws SessionFailure `bad_code_url` when there is no git; the signal's reason
 */
export async function runGit(args: readonly string[], run: GitRun): Promise<{ code: number | null; stderr: string }> {
  run.signal.throwIfAborted()
  const child = spawn('git', args, {
    cwd: run.cwd,
    env: run.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own: git starts helpers, which must not outlive it.
    detached: true,
  })
  const kill = (): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  run.signal.addEventListener('abort', kill, { once: true })
  let stderr = ''
  let thrown: unknown
  const records = splitRecords((record) => run.onRecord?.(record))
  child.stderr.on('data', (chunk: Buffer) => {
    if (stderr.length < 16_384) stderr += chunk.toString()
  })
  child.stdout.on('data', (chunk: Buffer) => {
    if (thrown !== undefined) return
    try {
      records(chunk)
    } catch (error) {
      thrown = error
      kill()
    }
  })
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    run.signal.throwIfAborted()
    if (thrown !== undefined) throw thrown
    records(undefined)
    return { code, stderr }
  } catch (error) {
    if (isSessionFailure(error) || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new SessionFailure(
      'bad_code_url',
      'The machine that runs the session has no git, which a repository needs. Install git, or use a .zip, a .tar.gz or a GitHub tree URL.',
    )
  } finally {
    run.signal.removeEventListener('abort', kill)
  }
}

function splitRecords(onRecord: (record: string) => void): (chunk: Buffer | undefined) => void {
  let rest = Buffer.alloc(0)
  return (chunk) => {
    if (chunk === undefined) {
      if (rest.length > 0) onRecord(decodeName(rest))
      return
    }
    rest = Buffer.concat([rest, chunk])
    let start = 0
    for (let end = rest.indexOf(0); end !== -1; end = rest.indexOf(0, start)) {
      onRecord(decodeName(rest.subarray(start, end)))
      start = end + 1
    }
    rest = rest.subarray(start)
  }
}

/** What git's message means for a person. */
export function explainGit(stderr: string, url: string): SessionFailure {
  const where = printable(url)
  if (/could not read Username|Authentication failed|terminal prompts disabled|repository .* not found/i.test(stderr))
    return new SessionFailure('auth_required', `The repository ${where} is private or does not exist. Check code_url.`)
  if (/couldn't find remote ref|not our ref|Remote branch .* not found|unadvertised object/i.test(stderr))
    return new SessionFailure(
      'ref_not_found',
      `There is no such branch, tag or commit in the repository ${where}, or its server does not provide it. Check code_url.`,
    )
  if (/not valid: is this a git repository|unexpected http status|invalid server response/i.test(stderr))
    return new SessionFailure('download_failed', `There is no git repository at ${where}. Check code_url.`)
  if (/transport '.*' not allowed/i.test(stderr))
    return new SessionFailure(
      'code_host_refused',
      `${where} redirects to something other than https, which is refused.`,
    )
  if (/Operation too slow/i.test(stderr))
    return new SessionFailure('download_timeout', `${where} sent data too slowly. Try again.`)
  if (/early EOF|unexpected disconnect|RPC failed; curl (18|52|55|56|92)|Connection reset|Empty reply/i.test(stderr))
    return new SessionFailure('download_failed', `${where} closed the connection too early. Try again.`, {
      cause: { code: 'ECONNRESET' },
    })
  const status = Number(/The requested URL returned error: (\d{3})/.exec(stderr)?.[1])
  const cause = askAgain(status)
  if (cause !== undefined)
    return new SessionFailure(
      'download_failed',
      `${where} answered ${status}: the fault is on its side. Try again later.`,
      { cause },
    )
  const line = stderr.split('\n').find((text) => /^(fatal|error):/.test(text)) ?? stderr.trim().split('\n').at(-1) ?? ''
  return new SessionFailure('download_failed', `git could not fetch ${where}: ${printable(line).slice(1, -1)}`)
}
