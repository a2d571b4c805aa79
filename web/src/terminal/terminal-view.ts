import { FitAddon } from '@xterm/addon-fit'
import { SearchAddon } from '@xterm/addon-search'
import { Terminal } from '@xterm/xterm'
import { guardTerminal } from '@cliscale/contract/terminal-guard'
import { useUnicode16 } from '@cliscale/contract/terminal-widths'
import { DEFAULT_SIZE, REPORTS_OFF, type Mode, type TerminalSize } from '@cliscale/contract/terminal'
import { encodeBinary, encodeText } from '../input.ts'
import { cleanPaste } from '../paste.ts'
import type { Settings } from '../settings-store.ts'
import { addLinks, type LinkPlaces } from './links.ts'
import { shrunkFontSize } from './plan-size.ts'
import { swallowQueries } from './query-filter.ts'
import { useFastRenderer } from './renderer.ts'
import { ScreenQueue } from './screen-queue.ts'
import { DARK, LIGHT } from './themes.ts'

export const SCROLLBACK_LINES = 10_000
/** While a window is dragged, it tells the session its size after this pause, in milliseconds. */
const RESIZE_PAUSE_MS = 100
/** A session of another size than the window is shrunk or framed when no new size comes for this long, in ms. */
const SETTLE_PAUSE_MS = 500
/** How long the terminal parses before it lets the browser draw, in milliseconds. */
const YIELD_MS = 12
/**
 * Out of a sequence that a program that died left without an end; then the mouse is the page's again, to scroll and to
 * select. The alternate screen stays: the last picture of a full-screen program is what tells how it ended.
 */
const REPORTS_END = `\u0018${REPORTS_OFF}`
const AT_END = `${REPORTS_END}\u001b[?25l`
const FONTS =
  'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace'

export interface TerminalViewOptions {
  readonly parent: HTMLElement
  readonly settings: Settings
  readonly dark: boolean
  readonly reducedMotion: boolean
  readonly links: LinkPlaces
  /** What a person typed, pasted or did with the mouse. */
  readonly onInput: (bytes: Uint8Array) => void
  /** The window now has room for another size; called once after a drag. */
  readonly onRoom: (room: TerminalSize) => void
  /** The session's size and the window's room differ; undefined: they agree again. */
  readonly onMisfit: (session: TerminalSize | undefined) => void
  /** Asks whether to paste text that has line breaks. */
  readonly confirmPaste: (text: string, bracketed: boolean) => Promise<boolean>
  readonly onTitle: (title: string) => void
  /** What typed text means: see TouchBar. */
  readonly retype: (data: string) => string
}

/** The terminal on the page: xterm.js with its add-ons, the order of its output, and how it fits the window. */
export class TerminalView {
  readonly terminal: Terminal
  readonly search = new SearchAddon({ highlightLimit: 5_000 })
  readonly queue: ScreenQueue
  readonly #options: TerminalViewOptions
  readonly #fit = new FitAddon()
  #fontSize: number
  #readOnly = true
  #answersQueries = false
  #hasSize = false
  #ended = false
  #room: TerminalSize | undefined
  #roomTimer: ReturnType<typeof setTimeout> | undefined
  #settleTimer: ReturnType<typeof setTimeout> | undefined

  constructor(options: TerminalViewOptions) {
    this.#options = options
    this.#fontSize = options.settings.fontSize
    this.terminal = createTerminal(options)
    this.queue = new ScreenQueue(this.#port(), (callback, ms) => setTimeout(callback, ms))
    this.terminal.loadAddon(this.#fit)
    this.terminal.loadAddon(this.search)
    useUnicode16(this.terminal)
    const filter = swallowQueries(this.terminal, () => !this.#answersQueries)
    guardTerminal(this.terminal, { yieldMs: YIELD_MS })
    const send = (data: string, encode: (data: string) => Uint8Array): void => {
      if (filter.allows(data)) options.onInput(encode(data))
    }
    this.terminal.onData((data) => send(options.retype(data), encodeText))
    this.terminal.onBinary((data) => send(data, encodeBinary))
    this.terminal.onTitleChange(options.onTitle)
  }

  /** The size that the window has room for at the chosen text size; undefined while nothing is laid out. */
  get room(): TerminalSize | undefined {
    return this.#room
  }

  /** The size for which the session's further output is laid out. Until the first one, the terminal has the window's size. */
  resize(size: TerminalSize): void {
    this.#hasSize = true
    this.queue.resize(size)
    this.#arrange()
  }

  /** From now on xterm.js answers a program's queries, because nobody else does. */
  answerQueries(): void {
    this.#answersQueries = true
  }

  setMode(mode: Mode): void {
    this.#readOnly = mode === 'ro'
    this.terminal.options.disableStdin = this.#readOnly
    this.terminal.options.cursorInactiveStyle = this.#readOnly ? 'none' : 'outline'
  }

  /** No program hears of this screen any more: the mouse is the page's. */
  endReports(): void {
    this.queue.write(encodeText(REPORTS_END), () => {})
  }

  /** After the end, no program lays out this screen any more: it takes the size of the window. */
  setEnded(): void {
    this.terminal.options.disableStdin = true
    this.terminal.options.cursorBlink = false
    // The output that is still to be drawn was laid out for the present size.
    this.queue.write(encodeText(AT_END), () => {
      this.#ended = true
      this.#measure()
    })
  }

  applySettings(settings: Settings, dark: boolean): void {
    const { options } = this.terminal
    options.theme = dark ? DARK : LIGHT
    options.macOptionIsMeta = settings.optionIsMeta
    if (options.screenReaderMode !== settings.screenReader) options.screenReaderMode = settings.screenReader
    if (settings.fontSize === this.#fontSize) return
    this.#fontSize = settings.fontSize
    this.#onWindow()
  }

  /** Pastes text as the keyboard shortcut does. */
  async paste(raw: string): Promise<void> {
    if (this.#readOnly || this.#ended) return
    const text = cleanPaste(raw)
    if (text === '') return
    if (await this.#options.confirmPaste(text, this.terminal.modes.bracketedPasteMode)) this.terminal.paste(text)
  }

  /** Puts the terminal into the page. From now on it calls the callbacks of the options. */
  open(): void {
    const { parent } = this.#options
    this.terminal.open(parent)
    useFastRenderer(this.terminal, (renderer) => (parent.dataset['renderer'] = renderer))
    // Before xterm.js, which would send the clipboard unchecked.
    parent.addEventListener('paste', (event) => this.#takeText(event, event.clipboardData), { capture: true })
    parent.addEventListener('drop', (event) => this.#takeText(event, event.dataTransfer), { capture: true })
    new ResizeObserver(() => this.#onWindow()).observe(parent)
    this.#keepCursorInView(parent)
    this.#measure()
  }

  /** A session larger than the window scrolls in it. The window follows the cursor until the user scrolls away from it. */
  #keepCursorInView(parent: HTMLElement): void {
    const { terminal } = this
    let follows = true
    const place = (): { left: number; top: number; width: number; height: number } | undefined => {
      const screen = terminal.element?.querySelector('.xterm-screen')
      if (screen === null || screen === undefined) return undefined
      const [width, height] = [screen.clientWidth / terminal.cols, screen.clientHeight / terminal.rows]
      const { cursorX, cursorY } = terminal.buffer.active
      return { left: cursorX * width, top: cursorY * height, width, height }
    }
    terminal.onRender(() => {
      const cursor = follows ? place() : undefined
      if (cursor === undefined) return
      parent.scrollTop = nearest(parent.scrollTop, parent.clientHeight, cursor.top, cursor.height)
      parent.scrollLeft = nearest(parent.scrollLeft, parent.clientWidth, cursor.left, cursor.width)
    })
    parent.addEventListener('scroll', () => {
      const cursor = place()
      if (cursor === undefined) return
      follows = nearest(parent.scrollTop, parent.clientHeight, cursor.top, cursor.height) === parent.scrollTop
    })
  }

  #takeText(event: Event, data: DataTransfer | null): void {
    event.preventDefault()
    event.stopPropagation()
    void this.paste(data?.getData('text/plain') ?? '')
  }

  #port() {
    const { terminal } = this
    return {
      get size(): TerminalSize {
        return { columns: terminal.cols, rows: terminal.rows }
      },
      write: (bytes: Uint8Array, parsed: () => void) => terminal.write(bytes, parsed),
      resize: ({ columns, rows }: TerminalSize) => {
        terminal.resize(columns, rows)
        this.#arrange()
      },
    }
  }

  // --- fitting

  #onWindow(): void {
    clearTimeout(this.#roomTimer)
    this.#roomTimer = setTimeout(() => this.#measure(), RESIZE_PAUSE_MS)
  }

  /** Measures what the window has room for at the chosen text size, and reports a change. */
  #measure(): void {
    this.#setFont(this.#fontSize)
    const proposed = this.#fit.proposeDimensions()
    if (proposed === undefined || Number.isNaN(proposed.cols)) return
    const room = { columns: proposed.cols, rows: proposed.rows }
    const changed = room.columns !== this.#room?.columns || room.rows !== this.#room.rows
    this.#room = room
    if (this.#ended) this.#fillWith(room)
    else if (!this.#hasSize) this.terminal.resize(room.columns, room.rows)
    if (changed && !this.#ended) this.#options.onRoom(room)
    this.#arrange()
  }

  /** Wraps lines anew, except on a full-screen program's last screen, which is laid out for its columns. */
  #fillWith({ columns, rows }: TerminalSize): void {
    const { terminal } = this
    terminal.resize(terminal.buffer.active.type === 'normal' ? columns : terminal.cols, rows)
    // xterm.js leaves its text area where the cursor was; the window could still scroll there.
    if (terminal.textarea !== undefined) terminal.textarea.style.left = terminal.textarea.style.top = '0'
  }

  /** Fits the session's screen into the window: with a margin when it is smaller, with smaller text when it is larger. */
  #arrange(): void {
    clearTimeout(this.#settleTimer)
    const room = this.#room
    if (room === undefined) return
    const { cols: columns, rows } = this.terminal
    const fits = columns <= room.columns && rows <= room.rows
    const agrees = columns === room.columns && rows === room.rows
    if (fits) this.#setFont(this.#fontSize)
    this.#hold(!agrees)
    if (agrees) this.#showMisfit(undefined)
    else this.#settleTimer = setTimeout(() => this.#settle(room, { columns, rows }), SETTLE_PAUSE_MS)
  }

  #settle(room: TerminalSize, session: TerminalSize): void {
    this.#setFont(shrunkFontSize(session, room, this.#fontSize))
    this.#hold(true)
    this.#showMisfit(this.#ended ? undefined : session)
  }

  #showMisfit(session: TerminalSize | undefined): void {
    this.#options.parent.classList.toggle('letterbox', session !== undefined)
    this.#options.onMisfit(session)
  }

  #setFont(size: number): void {
    if (this.terminal.options.fontSize !== size) this.terminal.options.fontSize = size
  }

  /** Makes the terminal's element as large as its cells, or lets it fill the window. */
  #hold(exact: boolean): void {
    const { element } = this.terminal
    const screen = element?.querySelector<HTMLElement>('.xterm-screen')
    if (element === undefined || screen === null || screen === undefined) return
    element.style.width = exact ? `calc(${screen.style.width} + 14px)` : ''
    element.style.height = exact ? screen.style.height : ''
  }
}

/** The scroll position closest to `at` from which a window of `room` shows what lies from `start` on. */
function nearest(at: number, room: number, start: number, length: number): number {
  return Math.max(Math.min(at, start), start + length - room, 0)
}

function createTerminal({ settings, dark, reducedMotion, links }: TerminalViewOptions): Terminal {
  const terminal = new Terminal({
    cols: DEFAULT_SIZE.columns,
    rows: DEFAULT_SIZE.rows,
    allowProposedApi: true,
    fontFamily: FONTS,
    fontSize: settings.fontSize,
    lineHeight: 1.2,
    scrollback: SCROLLBACK_LINES,
    minimumContrastRatio: 4.5,
    cursorBlink: !reducedMotion,
    macOptionIsMeta: settings.optionIsMeta,
    screenReaderMode: settings.screenReader,
    smoothScrollDuration: 0,
    disableStdin: true,
    rightClickSelectsWord: false,
    theme: dark ? DARK : LIGHT,
  })
  addLinks(terminal, links)
  Terminal.strings.promptLabel = 'Terminal input. Press Escape, then Tab, to leave the terminal.'
  return terminal
}
