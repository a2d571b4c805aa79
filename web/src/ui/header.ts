import type { Mode } from '@cliscale/contract/terminal'
import type { ConnectionState } from '@cliscale/client'
import { formatClock, formatDuration } from '../duration.ts'
import type { StatusWords } from '../status-words.ts'
import { copyText } from './clipboard.ts'
import { byId, setText } from './dom.ts'
import { toast } from './toast.ts'

/** Shows the first block of the session's id. A click copies all of it. */
export function showSessionId(sessionId: string): void {
  const button = byId('session-id')
  setText(button.firstElementChild as HTMLElement, sessionId.slice(0, 8))
  setText(byId('details-session'), sessionId)
  button.setAttribute('aria-label', `Session ${sessionId}, copy`)
  button.addEventListener('click', () => {
    void copyText(sessionId).then((copied) => toast(copied ? 'Session id copied' : `Session id: ${sessionId}`))
  })
}

/** Shows what the session runs: beside the state, and above the stages. */
export function showCommand(command: string): void {
  for (const id of ['command', 'details-command']) {
    setText(byId(id), command)
    byId(id).hidden = command === ''
  }
  byId('command').title = command
}

/** Shows the state. What a screen reader announces changes with the state only, not every second. */
export function showStatus(words: StatusWords, state: ConnectionState): void {
  byId('pill').dataset['tone'] = words.tone
  setText(byId('pill-text'), words.text)
  setText(byId('announce'), words.spoken)
  byId('reconnect').hidden = state.kind !== 'reconnecting'
  document.body.dataset['state'] = state.kind
}

export function showMode(mode: Mode): void {
  byId('view-only').hidden = mode !== 'ro'
}

/** Shows the time since the command started, or how long it ran. */
export function showClock(state: ConnectionState, runningSince: number | undefined, now: number): void {
  const clock = byId('clock')
  const ran = state.kind === 'ended' ? state.exit.durationMs : null
  if (ran !== null) setText(clock, formatDuration(ran))
  else if (runningSince !== undefined && state.kind !== 'ended') setText(clock, formatClock(now - runningSince))
  clock.hidden = clock.textContent === ''
}

/** Says that the image has its own terminal, and offers an explanation. The server has no log of it. */
export function showPlain(): void {
  byId('own-terminal').hidden = false
  byId('log-menu').dataset['plain'] = ''
}
