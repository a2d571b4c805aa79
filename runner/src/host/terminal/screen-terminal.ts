import { SerializeAddon } from '@xterm/addon-serialize'
// Node's lexer does not find the names of this CommonJS bundle: only the default import has them.
import headless, { type Terminal } from '@xterm/headless'
import type { TerminalSize } from '@cliscale/contract'
import { guardTerminal } from '@cliscale/contract/terminal-guard'
import { useUnicode16 } from '@cliscale/contract/terminal-widths'
import { addAnswers } from './screen-answers.ts'
import { droppedAttributes, withWholeCells } from './screen-cells.ts'
import { ScreenColours } from './screen-colours.ts'
import { cursorState, withNormalState } from './screen-cursor.ts'
import { endsInCharacter, modesOf, pendingInput, reenter, unwrittenModes, writeSync } from './screen-internals.ts'
import type { ScreenAnswer, ScreenRequest } from './screen-messages.ts'

const SCROLLBACK_LINES = 5_000
/** Pieces between which the clock is looked at: the worst takes some 100 ms on a screen of the usual size. */
const SLICE_BYTES = 1_024
/** Answers to the queries of one piece of output; a program that asks for more reads none of them. */
const MAX_ANSWER_UNITS = 4_096
/** A string that is longer is of no effect, so a viewer may start in the middle of it. */
const LONG_STRING_BYTES = 256 * 1024
/** So much of the output is kept to recognize its last character: one cell holds up to 32 code points. */
const LAST_BYTES = 160
/** Lines that are tried first, to learn how long a line is. */
const SAMPLE_LINES = 200
const MAX_GROWTH = 4

/** A terminal without a display that can be drawn again from a snapshot. Never yields: it belongs into a thread. */
export class ScreenTerminal {
  readonly #terminal: Terminal
  readonly #serializer = new SerializeAddon()
  readonly #cpuNow: () => number
  readonly #colours: ScreenColours
  #answers: string | undefined
  #offset = 0
  /** Up to here nothing hangs in the middle of an escape sequence or a character. */
  #safe = 0
  /** The end of what was parsed. */
  #last: Uint8Array = new Uint8Array(0)

  /** @param cpuNow processor time of this thread in milliseconds. */
  constructor(cpuNow: () => number) {
    this.#cpuNow = cpuNow
    this.#terminal = new headless.Terminal({ scrollback: SCROLLBACK_LINES, allowProposedApi: true, logLevel: 'off' })
    useUnicode16(this.#terminal)
    // It takes the browser's terminal for granted, and uses what both have.
    this.#serializer.activate(withWholeCells(this.#terminal) as never)
    const answer = (text: string): void => {
      if (this.#answers !== undefined && this.#answers.length < MAX_ANSWER_UNITS) this.#answers += text
    }
    this.#terminal.onData(answer)
    addAnswers(this.#terminal, answer)
    this.#colours = new ScreenColours(this.#terminal, answer)
    guardTerminal(this.#terminal)
  }

  handle(request: ScreenRequest): ScreenAnswer {
    const start = this.#cpuNow()
    const snapshot = this.#do(request)
    const answers = this.#answers ?? ''
    this.#answers = undefined
    const modes = modesOf(this.#terminal, this.#serializer) + this.#colours.sequences
    return { cpuMs: this.#cpuNow() - start, offset: this.#offset, modes, answers, snapshot }
  }

  #do(request: ScreenRequest): ScreenAnswer['snapshot'] {
    switch (request.type) {
      case 'start':
        this.#resize(request.size)
        this.#colours.show(request.colours)
        for (let at = 0; at < request.bytes.length; at += SLICE_BYTES)
          writeSync(this.#terminal, request.bytes.subarray(at, at + SLICE_BYTES))
        this.#offset = this.#safe = request.offset
        return
      case 'parse':
        this.#resize(request.size)
        if (request.answering) this.#answers = ''
        return this.#parse(request)
      case 'skip':
        writeSync(this.#terminal, '\x18')
        this.#last = new Uint8Array(0)
        this.#offset = this.#safe = request.offset
        return
      case 'resize':
        this.#resize(request.size)
        return
      case 'colours':
        this.#answers = ''
        this.#colours.show(request.colours)
        return
      case 'snapshot':
        return this.#snapshot(request.maxBytes)
    }
  }

  #resize({ columns, rows }: TerminalSize): void {
    if (columns === this.#terminal.cols && rows === this.#terminal.rows) return
    this.#terminal.resize(columns, rows)
    // It was laid out for the size before.
    this.#last = new Uint8Array(0)
  }

  #parse({ offset, bytes, budgetMs }: ScreenRequest & { type: 'parse' }): undefined {
    const start = { wall: performance.now(), cpu: this.#cpuNow() }
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES)
      writeSync(this.#terminal, slice)
      this.#offset = offset + at + slice.length
      this.#last = slice.length < LAST_BYTES ? Buffer.concat([this.#last, slice]).subarray(-LAST_BYTES) : slice
      this.#trackSafe(slice)
      // The clock of the wall costs less to read.
      if (performance.now() - start.wall >= budgetMs && this.#cpuNow() - start.cpu >= budgetMs) return
    }
  }

  /** What the parser holds has no effect yet, so the screen is that of the offset where it began. */
  #trackSafe(slice: Uint8Array): void {
    const { inSequence, utf8Bytes } = pendingInput(this.#terminal)
    if (!inSequence) this.#safe = this.#offset - utf8Bytes
    else {
      const start = Math.max(slice.lastIndexOf(0x1b), lastC1(slice))
      if (start >= 0) this.#safe = this.#offset - slice.length + start
    }
  }

  #snapshot(maxBytes: number): ScreenAnswer['snapshot'] {
    const text = this.#serialize(maxBytes)
    if (text === undefined) return undefined
    let seq = this.#safe
    let tail = ''
    if (this.#offset - this.#safe > LONG_STRING_BYTES) {
      tail = reenter(this.#terminal)
      if (tail !== '') seq = this.#offset - pendingInput(this.#terminal).utf8Bytes
    }
    const size = { columns: this.#terminal.cols, rows: this.#terminal.rows }
    const open = this.#openCharacter()
    if (open !== undefined) seq -= open.bytes
    const cursor = cursorState(this.#terminal, text, open?.x)
    const pen = droppedAttributes(this.#terminal, cursor !== '')
    const state = cursor + pen + unwrittenModes(this.#terminal) + this.#colours.sequences
    return { seq, size, bytes: new TextEncoder().encode(text + state + tail) }
  }

  /**
   * The last character, when what follows may join it: no sequence leaves a terminal in that state, so a viewer draws it
   * once more from the output, on the cell where it stands.
   */
  #openCharacter(): { readonly x: number; readonly bytes: number } | undefined {
    const { inSequence, utf8Bytes } = pendingInput(this.#terminal)
    if (inSequence || !endsInCharacter(this.#terminal) || this.#terminal.modes.insertMode) return undefined
    const { active } = this.#terminal.buffer
    const line = active.getLine(active.baseY + active.cursorY)
    const before = Math.min(active.cursorX, this.#terminal.cols) - 1
    const x = line?.getCell(before)?.getWidth() === 0 ? before - 1 : before
    const character = Buffer.from(line?.getCell(x)?.getChars() ?? '')
    const parsed = this.#last.subarray(0, this.#last.length - utf8Bytes)
    const isIt = character.length > 0 && character.equals(parsed.subarray(-character.length))
    return isIt ? { x, bytes: character.length } : undefined
  }

  /** The screen with about as much of its scrollback as fits; undefined where not even the screen does. */
  #serialize(maxBytes: number): string | undefined {
    const { rows } = this.#terminal
    const all = this.#terminal.buffer.normal.length - rows
    let scrollback = Math.min(all, SAMPLE_LINES)
    for (;;) {
      const text = withNormalState(this.#terminal, this.#serializer.serialize({ scrollback }))
      const fitting = Math.floor(maxBytes / (text.length / (scrollback + rows))) - rows
      if (text.length > maxBytes) {
        if (scrollback === 0) return text.length <= maxBytes * MAX_GROWTH ? text : undefined
        scrollback = Math.max(0, Math.min(fitting, Math.floor(scrollback * 0.8)))
      } else {
        // Older lines may be longer than these, so it grows by steps; for a little more it is not worth it.
        const next = Math.min(all, fitting, scrollback * MAX_GROWTH)
        if (next <= scrollback || (next < all && next < scrollback * 1.3)) return text
        scrollback = next
      }
    }
  }
}

/** Where the last C1 control in UTF-8 (C2 80 to C2 9F) begins; -1 when there is none. */
function lastC1(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(0xc2); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf(0xc2, at - 1)) {
    const next = bytes[at + 1] ?? 0
    if (next >= 0x80 && next < 0xa0) return at
  }
  return -1
}
