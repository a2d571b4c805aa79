import type { ISearchOptions } from '@xterm/addon-search'
import type { TerminalView } from '../terminal/terminal-view.ts'
import { byId, setText } from './dom.ts'

const COLOURS = {
  dark: { match: '#5c4a16', active: '#b8860b', ruler: '#d5a021' },
  light: { match: '#ffe9a8', active: '#ffc83d', ruler: '#c98f00' },
} as const

/** The search bar: it counts and marks matches in the whole scrollback, and keeps out of the way of the current one. */
export class SearchBar {
  readonly #view: TerminalView
  readonly #isDark: () => boolean
  readonly #form = byId<HTMLFormElement>('search')
  readonly #text = byId<HTMLInputElement>('search-text')
  readonly #toggles = { caseSensitive: byId('search-case'), regex: byId('search-regex') }

  constructor(view: TerminalView, isDark: () => boolean) {
    this.#view = view
    this.#isDark = isDark
    view.search.onDidChangeResults(({ resultIndex, resultCount }) => this.#count(resultIndex, resultCount))
    this.#text.addEventListener('input', () => this.#find('next', true))
    for (const toggle of Object.values(this.#toggles)) {
      toggle.addEventListener('click', () => {
        toggle.setAttribute('aria-pressed', String(!isOn(toggle)))
        // Otherwise @xterm/addon-search 0.16.0 keeps the count of the previous choice.
        this.#view.search.clearDecorations()
        this.#find('next', true)
      })
    }
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#find('next')
    })
    this.#form.addEventListener('keydown', (event) => this.#onKey(event))
    byId('search-previous').addEventListener('click', () => this.#find('previous'))
    byId('search-close').addEventListener('click', () => this.close())
  }

  open(): void {
    this.#form.hidden = false
    const selected = this.#view.terminal.getSelection()
    if (selected !== '' && !selected.includes('\n')) this.#text.value = selected
    this.#text.focus()
    this.#text.select()
    if (this.#text.value !== '') this.#find('next', true)
  }

  close(): void {
    this.#form.hidden = true
    this.#view.search.clearDecorations()
    this.#view.terminal.focus()
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') this.close()
    else if (event.key === 'Enter' && event.shiftKey) this.#find('previous')
    else if (event.key.toLowerCase() === 'f' && (event.ctrlKey || event.metaKey)) this.#text.select()
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  #find(direction: 'next' | 'previous', incremental = false): void {
    const { search } = this.#view
    if (this.#text.value === '') {
      search.clearDecorations()
      this.#view.terminal.clearSelection()
      setText(byId('search-count'), '')
      return
    }
    const options = this.#options(incremental)
    if (!this.#checkRegex(options)) return search.clearDecorations()
    if (direction === 'next') search.findNext(this.#text.value, options)
    else search.findPrevious(this.#text.value, options)
    this.#makeWay()
  }

  #checkRegex({ regex }: ISearchOptions): boolean {
    const isValid = regex !== true || isRegex(this.#text.value)
    this.#text.setAttribute('aria-invalid', String(!isValid))
    if (!isValid) setText(byId('search-count'), 'invalid expression')
    return isValid
  }

  /** Moves the bar to the other edge when it covers the match. */
  #makeWay(): void {
    const { terminal } = this.#view
    const match = terminal.getSelectionPosition()
    const screen = terminal.element?.querySelector('.xterm-screen')?.getBoundingClientRect()
    if (match === undefined || screen === undefined) return
    const rowHeight = screen.height / terminal.rows
    const topOf = (row: number): number => screen.top + (row - terminal.buffer.active.viewportY) * rowHeight
    this.#form.classList.remove('below')
    const bar = this.#form.getBoundingClientRect()
    const rowHits = topOf(match.start.y) < bar.bottom && topOf(match.end.y + 1) > bar.top
    const right = screen.left + (match.start.y === match.end.y ? match.end.x / terminal.cols : 1) * screen.width
    const isUnder = rowHits && right > bar.left
    this.#form.classList.toggle('below', isUnder)
  }

  #count(index: number, count: number): void {
    if (this.#text.value === '' || this.#text.getAttribute('aria-invalid') === 'true') return
    const total = count >= 5_000 ? `${count}+` : String(count)
    setText(byId('search-count'), count === 0 ? 'no match' : index < 0 ? total : `${index + 1} of ${total}`)
  }

  #options(incremental: boolean): ISearchOptions {
    const { match, active, ruler } = COLOURS[this.#isDark() ? 'dark' : 'light']
    return {
      incremental,
      caseSensitive: isOn(this.#toggles.caseSensitive),
      regex: isOn(this.#toggles.regex),
      decorations: {
        matchBackground: match,
        activeMatchBackground: active,
        matchOverviewRuler: ruler,
        activeMatchColorOverviewRuler: active,
      },
    }
  }
}

function isOn(toggle: HTMLElement): boolean {
  return toggle.getAttribute('aria-pressed') === 'true'
}

function isRegex(text: string): boolean {
  try {
    return new RegExp(text, 'g') instanceof RegExp
  } catch {
    return false
  }
}
