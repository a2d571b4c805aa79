import { formatDuration } from '../duration.ts'
import { type SeenStage, STAGE_WORDS } from '../stages.ts'
import { make, setText } from './dom.ts'

export interface StageList {
  readonly element: HTMLOListElement
  /** Updates the seconds of the stage in progress. */
  readonly tick: () => void
}

/** The stages of a session with their durations, one per line. */
export function stageList(stages: readonly SeenStage[], now: () => number): StageList {
  const ticking: (() => void)[] = []
  const items = stages.map((stage) => stageItem(stage, now, ticking))
  const element = make('ol', { class: 'stages' }, ...items)
  return { element, tick: () => ticking.forEach((tick) => tick()) }
}

function stageItem(stage: SeenStage, now: () => number, ticking: (() => void)[]): HTMLElement {
  const seconds = make('span', { class: 'seconds' })
  const done = stage.endedAt !== undefined
  const tick = (): void => {
    const ms = (stage.endedAt ?? now()) - stage.startedAt
    setText(seconds, done ? formatDuration(ms) : `${Math.max(0, Math.floor(ms / 1000))} s`)
  }
  tick()
  if (!done) ticking.push(tick)
  const mark = make('i', { 'aria-hidden': 'true' })
  const word = make('span', {}, sentence(STAGE_WORDS[stage.name] ?? stage.name))
  return make('li', { class: done ? 'stage done' : 'stage now' }, mark, word, seconds)
}

/** The words with a capital letter at the beginning. */
export function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1)
}
