import type { ConnectionState } from '@cliscale/client'
import type { SeenStage } from '../stages.ts'
import { stopHelp, statusWords } from '../status-words.ts'
import { commandLine } from './command-line.ts'
import { byId, make } from './dom.ts'
import { sentence, stageList } from './stage-list.ts'

/** The card in the middle of an empty terminal: the stages with their durations, or why there is nothing to see. */
export class Overlay {
  readonly #element = byId('overlay')
  #key = ''
  #tick = (): void => {}

  hide(): void {
    this.#element.hidden = true
  }

  /** Shows a state. The card is rebuilt only when its content changes; seconds are updated in place. */
  show(
    state: ConnectionState,
    stages: readonly SeenStage[],
    now: () => number,
    newLink: string,
    resume: () => void,
  ): void {
    this.#element.hidden = false
    // The hint may come long after the stage began.
    const hint = state.kind === 'waiting' ? state.status.hint : null
    const key = JSON.stringify([state.kind, state.kind === 'stopped' ? state.why : stages, hint])
    if (key !== this.#key) {
      this.#key = key
      this.#tick = () => {}
      const card =
        state.kind === 'stopped' ? stopCard(state.why, newLink, resume) : this.#progressCard(state, stages, now)
      this.#element.replaceChildren(card)
    }
    this.#tick()
  }

  #progressCard(state: ConnectionState, stages: readonly SeenStage[], now: () => number): HTMLElement {
    const { element: list, tick } = stageList(stages, now)
    this.#tick = tick
    const words = statusWords(state, now(), undefined)
    if (stages.at(-1)?.endedAt !== undefined || stages.length === 0) {
      list.append(make('li', { class: 'stage now' }, make('i', { 'aria-hidden': 'true' }), sentence(words.spoken)))
    }
    const isRunning = stages.at(-1)?.name === 'running'
    const title = isRunning ? 'Running, no output yet' : 'Starting the session'
    const hint = state.kind === 'waiting' && state.status.hint !== null ? [make('p', {}, state.status.hint)] : []
    return make('div', { class: 'card' }, make('h1', {}, title), list, ...hint)
  }
}

/** The card of a page that cannot continue by itself. */
export function stopCard(why: Parameters<typeof stopHelp>[0], newLink: string, resume: () => void): HTMLElement {
  const help = stopHelp(why)
  const card = make('div', { class: 'card stop' }, make('h1', {}, help.headline), make('p', {}, help.body))
  if (help.offersLink) card.append(commandLine(newLink))
  if (help.offersResume) {
    const button = make('button', { type: 'button', class: 'button primary' }, 'Connect again')
    button.addEventListener('click', resume)
    card.append(button)
  }
  return card
}
