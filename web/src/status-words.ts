import { factsOf, type Reason } from '@cliscale/contract/session'
import type { Exit } from '@cliscale/contract/terminal'
import { canResume, type ConnectionState, type Stop } from '@cliscale/client'
import { formatDuration } from './duration.ts'
import { STAGE_WORDS, stageOf } from './stages.ts'

/** How the pill looks. */
export type Tone = 'busy' | 'live' | 'warn' | 'good' | 'bad' | 'off'

export interface StatusWords {
  readonly tone: Tone
  /** What the pill shows. */
  readonly text: string
  /** What a screen reader announces: without seconds, so that it announces it once. */
  readonly spoken: string
}

const STOP_WORDS: Readonly<Record<Stop, string>> = {
  link_used: 'link already used',
  expired: 'expired',
  no_access: 'no access',
  revoked: 'no access',
  not_found: 'no such session',
  gone: 'session removed',
  protocol: 'cannot be shown',
  program_over: 'program ended',
}

const STOPPING: StatusWords = { tone: 'busy', text: 'stopping', spoken: 'stopping' }

/** The words for a state at a time (ms since 1970); `stageSince` is when the current stage began. */
export function statusWords(state: ConnectionState, now: number, stageSince: number | undefined): StatusWords {
  switch (state.kind) {
    case 'connecting':
      return state.again === true
        ? { tone: 'warn', text: 'reconnecting', spoken: 'connection lost, reconnecting' }
        : { tone: 'busy', text: 'connecting', spoken: 'connecting' }
    case 'waiting': {
      if (state.status?.stopping === true) return STOPPING
      const stage = stageOf(state.status)
      const word = stage === undefined ? 'starting' : STAGE_WORDS[stage]
      const seconds = stageSince === undefined ? '' : ` · ${Math.max(0, Math.floor((now - stageSince) / 1000))} s`
      return { tone: 'busy', text: `${word}${seconds}`, spoken: `waiting: ${word}` }
    }
    case 'live':
      if (state.status?.stopping === true) return STOPPING
      return { tone: 'live', text: 'live', spoken: 'live' }
    case 'reconnecting': {
      const seconds = Math.max(1, Math.ceil((state.at - now) / 1000))
      return { tone: 'warn', text: `reconnecting in ${seconds} s`, spoken: 'connection lost, reconnecting' }
    }
    case 'ended':
      return endedWords(state.exit)
    case 'stopped':
      return { tone: 'off', text: STOP_WORDS[state.why], spoken: STOP_WORDS[state.why] }
  }
}

function endedWords(exit: Exit): StatusWords {
  const outcome = exitWords(exit)
  // Says that it ended, and is long for a phone.
  const text = exit.reason === 'install_failed' ? outcome : `ended · ${outcome}`
  return { tone: TONES[endingOf(exit)], text, spoken: `ended: ${outcome}` }
}

/** How to present an end: a stop is neither a success nor a failure. */
export type Ending = 'good' | 'neutral' | 'bad'
const TONES: Readonly<Record<Ending, Tone>> = { good: 'good', neutral: 'off', bad: 'bad' }

export function endingOf(exit: Exit): Ending {
  if (exit.status === 'succeeded') return 'good'
  return exit.status === 'stopped' ? 'neutral' : 'bad'
}

/** How it ended, in a few words. */
export function exitWords(exit: Exit): string {
  if (exit.status === 'succeeded') return exit.exitCode === null ? 'finished' : 'exit code 0'
  if (exit.status === 'stopped') return 'stopped'
  if (exit.status === 'expired') return 'time limit'
  const how = exit.signal ?? (exit.exitCode === null ? undefined : `exit code ${exit.exitCode}`)
  if (exit.reason === 'install_failed') return how === undefined ? 'install failed' : `install failed, ${how}`
  return how ?? (exit.status === 'lost' ? 'lost' : 'failed')
}

/** What the panel under an ended session says. */
export interface EndWords {
  readonly ending: Ending
  readonly headline: string
  /** Exit code, signal, duration: those that are known and that the sentence does not mention. */
  readonly facts: readonly string[]
  /** One sentence: what went wrong and what to do; undefined where headline and facts already say it. */
  readonly help: string | undefined
}

const HEADLINES: Readonly<Record<string, string>> = {
  succeeded: 'Finished',
  failed: 'Failed',
  stopped: 'Stopped',
  expired: 'Time limit reached',
  lost: 'Lost',
}

/** Reasons that need no sentence beside headline and facts. */
const SAID_BY_FACTS: ReadonlySet<Reason> = new Set<Reason>(['exit_nonzero', 'killed_by_signal', 'stopped_by_user'])

/** The words of the panel. The server's own sentence takes precedence: it is more specific than the catalogue's. */
export function endWords(exit: Exit): EndWords {
  const { reason } = exit
  const sentence = exit.detail || exit.hint || (reason === null ? undefined : factsOf(reason).hint)
  const help = reason !== null && SAID_BY_FACTS.has(reason) ? undefined : sentence
  const facts: string[] = []
  // After a stop or a time limit, the program's own exit does not matter.
  const isOwn = exit.status !== 'stopped' && exit.status !== 'expired'
  if (isOwn && exit.exitCode !== null) facts.push(`exit code ${exit.exitCode}`)
  if (isOwn && exit.signal !== null) facts.push(`signal ${exit.signal}`)
  const unsaid = facts.filter((fact) => help?.includes(fact) !== true)
  if (exit.durationMs !== null) unsaid.push(`ran for ${formatDuration(exit.durationMs)}`)
  return { ending: endingOf(exit), headline: headlineOf(exit), facts: unsaid, help }
}

function headlineOf({ status, reason }: Exit): string {
  if (reason === 'stopped_by_user') return 'Stopped on request'
  if (reason === 'install_failed') return 'Install failed'
  return HEADLINES[status] ?? 'Ended'
}

/** What the page says when it cannot continue by itself. */
export interface StopHelp {
  readonly headline: string
  readonly body: string
  /** Whether the curl command for a new link helps. */
  readonly offersLink: boolean
  /** Whether a button that connects again helps. */
  readonly offersResume: boolean
}

const NEW_LINK = 'Ask whoever started the session for a new link, or create one with your API key:'
const STOP_HELP: Readonly<Record<Stop, Omit<StopHelp, 'offersResume'>>> = {
  link_used: {
    headline: 'This link has already been used',
    body: `A link opens the terminal once, in one browser. The session is not affected. ${NEW_LINK}`,
    offersLink: true,
  },
  expired: {
    headline: 'This link has expired',
    body: `It was not opened in time. The session is not affected. ${NEW_LINK}`,
    offersLink: true,
  },
  no_access: {
    headline: 'You need a link to open this session',
    body: `This browser has not opened it yet, or its access has expired. ${NEW_LINK}`,
    offersLink: true,
  },
  revoked: {
    headline: 'Your access to this session has ended',
    body: `It expired or was revoked. ${NEW_LINK}`,
    offersLink: true,
  },
  not_found: {
    headline: 'There is no such session',
    body: 'Check the address. The server removes a session’s record some time after the session ends.',
    offersLink: false,
  },
  gone: {
    headline: 'This session has been removed',
    body: 'The server no longer keeps its record and its output.',
    offersLink: false,
  },
  protocol: {
    headline: 'This page cannot read what the server sent',
    body: 'The page may be older than the server. Reload it, or connect again.',
    offersLink: false,
  },
  program_over: {
    headline: 'The program has ended, or its connection was lost',
    body: 'The image of this session has its own terminal, in which a program ends together with its connection and reports no exit code. If you connect again, the program starts anew.',
    offersLink: false,
  },
}

export function stopHelp(why: Stop): StopHelp {
  return { ...STOP_HELP[why], offersResume: canResume(why) }
}
