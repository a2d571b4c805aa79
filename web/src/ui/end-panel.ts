import type { Exit } from '@cliscale/contract/terminal'
import { type Ending, endWords } from '../status-words.ts'
import { byId, make } from './dom.ts'

const MARKS: Readonly<Record<Ending, string>> = { good: '✓', neutral: '■', bad: '✗' }

/** The strip under the output of an ended session. It covers nothing. */
export function showEndPanel(exit: Exit): void {
  const words = endWords(exit)
  const mark = make('span', { class: `mark ${words.ending}`, 'aria-hidden': 'true' }, MARKS[words.ending])
  const facts = words.facts.map((fact) => make('span', { class: 'fact' }, fact))
  const line = make('p', { class: 'end-line' }, make('strong', {}, words.headline), ...facts)
  const text = make('div', { class: 'end-text' }, line)
  if (words.help !== undefined) text.append(make('p', { class: 'end-help' }, words.help))
  show(mark, text)
}

/** The same strip, for a page that has output but cannot continue. */
export function showStopPanel(card: HTMLElement): void {
  show(card)
}

export function hideEndPanel(): void {
  byId('end').hidden = true
}

function show(...content: HTMLElement[]): void {
  const panel = byId('end')
  panel.replaceChildren(...content)
  panel.hidden = false
}
