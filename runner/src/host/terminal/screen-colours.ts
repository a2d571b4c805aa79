import type { Terminal } from '@xterm/headless'
import { DARK_COLOURS, isDark, type TerminalColours } from '@cliscale/contract'
import { type ColourRequest, onColourRequest } from './screen-internals.ts'

/** Where @xterm/headless 6.0.0 counts text, background and cursor: after the palette. */
const SPECIAL = ['foreground', 'background', 'cursor'] as const
const FIRST_SPECIAL = 256
/** A program that sets it is told when the colours change (contour's `color-palette-update-notifications`). */
const NOTIFY_MODE = 2031
const ASK_SCHEME = 996
const RESET_SEQUENCES = '\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\'

/**
 * What a program is told of the terminal's colours: those that the driver's page shows, but for the ones that the
 * program has set itself (OSC 4, 10, 11, 12). A later xterm.js answers `CSI ? 996 n` by itself; these handlers come
 * first. Takes part in `terminal` for as long as that lives.
 */
export class ScreenColours {
  readonly #answer: (text: string) => void
  #shown = DARK_COLOURS
  readonly #set = new Map<number, string>()
  #wasSet = false
  #notifies = false

  constructor(terminal: Terminal, answer: (text: string) => void) {
    this.#answer = answer
    onColourRequest(terminal, (requests) => requests.forEach((request) => this.#take(request)))
    const { parser } = terminal
    const setMode = (on: boolean) => (params: (number | number[])[]) => {
      if (params.includes(NOTIFY_MODE)) this.#notifies = on
      return false
    }
    parser.registerCsiHandler({ prefix: '?', final: 'h' }, setMode(true))
    parser.registerCsiHandler({ prefix: '?', final: 'l' }, setMode(false))
    const reset = (): boolean => this.#onReset()
    parser.registerEscHandler({ final: 'c' }, reset)
    parser.registerCsiHandler({ intermediates: '!', final: 'p' }, reset)
    parser.registerCsiHandler({ prefix: '?', final: 'n' }, ([asked]) => {
      if (asked !== ASK_SCHEME) return false
      this.#tellScheme()
      return true
    })
    parser.registerCsiHandler({ prefix: '?', intermediates: '$', final: 'p' }, ([mode]) => {
      if (mode !== NOTIFY_MODE) return false
      answer(`\x1b[?${NOTIFY_MODE};${this.#notifies ? 1 : 2}$y`)
      return true
    })
  }

  /** The driver's page is drawn in these now. What the program had set is gone, as it is there. */
  show(colours: TerminalColours): void {
    this.#shown = colours
    this.#set.clear()
    if (this.#notifies) this.#tellScheme()
  }

  /** What draws another terminal in the program's colours, and sets the mode. */
  get sequences(): string {
    const colours = [...this.#set].map(([index, colour]) => `\x1b]${numberOf(index)};${toX11(colour)}\x1b\\`)
    const mode = this.#notifies ? `\x1b[?${NOTIFY_MODE}h` : ''
    return (this.#wasSet ? RESET_SEQUENCES : '') + colours.join('') + mode
  }

  #take({ type, index, color }: ColourRequest): void {
    if (type === 'set' && index !== undefined && color !== undefined) {
      this.#wasSet = true
      this.#set.set(index, toHex(color))
    } else if (type === 'restore') {
      for (const each of this.#set.keys())
        if (each === index || (index === undefined && each < FIRST_SPECIAL)) this.#set.delete(each)
    } else if (type === 'report' && index !== undefined) {
      this.#answer(`\x1b]${numberOf(index)};${toX11(this.#set.get(index) ?? shownColour(this.#shown, index))}\x1b\\`)
    }
  }

  #tellScheme(): void {
    this.#answer(`\x1b[?997;${isDark(this.#shown) ? 1 : 2}n`)
  }

  #onReset(): false {
    this.#notifies = false
    return false
  }
}

function numberOf(index: number): string {
  return index < FIRST_SPECIAL ? `4;${index}` : String(10 + index - FIRST_SPECIAL)
}

/** A colour of the 256 (xterm's cube and greys above the first 16), or of what comes after them. */
export function shownColour(shown: TerminalColours, index: number): string {
  const special = SPECIAL[index - FIRST_SPECIAL]
  if (special !== undefined) return shown[special]
  return shown.palette[index] ?? (index < 232 ? cube(index - 16) : grey(index - 232))
}

function cube(n: number): string {
  const level = (v: number): number => (v === 0 ? 0 : 55 + v * 40)
  return toHex([level(Math.floor(n / 36)), level(Math.floor(n / 6) % 6), level(n % 6)])
}

function grey(n: number): string {
  const level = 8 + n * 10
  return toHex([level, level, level])
}

function toHex(channels: readonly number[]): string {
  return `#${channels.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`
}

/** As X11 writes it, with 16 bits for a channel. */
function toX11(colour: string): string {
  return `rgb:${[1, 3, 5]
    .map((at) =>
      colour
        .slice(at, at + 2)
        .repeat(2)
        .toLowerCase(),
    )
    .join('/')}`
}
