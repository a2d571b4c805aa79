import type { SerializeAddon } from '@xterm/addon-serialize'
import type { IBufferCell, Terminal } from '@xterm/headless'

/**
 * What @xterm/headless 6.0.0 knows and does not publish, and what addon-serialize 0.14 therefore drops. The version is
 * pinned; `readInternals` throws when the shape changes, and the screen's tests cover each field.
 */
interface Internals {
  readonly _core: {
    writeSync(data: Uint8Array | string): void
    readonly _inputHandler: {
      readonly _parser: { readonly currentState: number; readonly precedingJoinState: number }
      readonly _utf8Decoder: { readonly interim: Uint8Array }
      readonly _windowTitle: string
      readonly _curAttrData: FullCell
      onColor(listener: (event: readonly RawColourRequest[]) => void): unknown
    }
    readonly buffers: { readonly normal: RawBuffer; readonly alt: RawBuffer }
    readonly _oscLinkService: { getLinkData(id: number): Link | undefined }
    readonly _charsetService: { readonly glevel: number; readonly _charsets: (Record<string, string> | undefined)[] }
    readonly coreMouseService: { readonly activeEncoding: string }
    readonly coreService: {
      readonly isCursorHidden: boolean
      readonly decPrivateModes: { readonly cursorStyle?: string; readonly cursorBlink?: boolean }
    }
  }
}

/** Of one buffer; rows count from the top of the scrollback where they are saved. */
export interface CursorState {
  readonly scrollTop: number
  readonly scrollBottom: number
  readonly ybase: number
  readonly savedX: number
  readonly savedY: number
  readonly savedCurAttrData: FullCell
  readonly tabs: Readonly<Record<number, boolean | undefined>>
}

interface RawLine {
  readonly _extendedAttrs: Readonly<Record<number, { readonly urlId: number } | undefined>>
}
interface RawBuffer extends CursorState {
  readonly lines: { readonly length: number; get(row: number): RawLine | undefined }
}
interface Link {
  readonly id?: string
  readonly uri: string
}

/** A cell; the declared type leaves out what is not drawn by the serializer either. */
export interface FullCell extends IBufferCell {
  readonly fg: number
  readonly bg: number
  readonly extended: { readonly urlId: number; readonly underlineColor: number; readonly _ext: number }
  hasExtendedAttrs(): number
}

export function findLink(terminal: Terminal, urlId: number): Link | undefined {
  return internals(terminal)._oscLinkService.getLinkData(urlId)
}

/** What cells of a line have beside text, colours and flags, by their columns; may hold what is no longer there. */
export function extendedLines(terminal: Terminal, type: 'normal' | 'alternate'): RawBuffer['lines'] {
  const { normal, alt } = internals(terminal).buffers
  return (type === 'normal' ? normal : alt).lines
}

export function cursorOf(terminal: Terminal, type: 'normal' | 'alternate'): CursorState {
  const { normal, alt } = internals(terminal).buffers
  return type === 'normal' ? normal : alt
}

/** Whether a character was the last thing of all: what follows may join it, as an accent or an emoji's next part does. */
export function endsInCharacter(terminal: Terminal): boolean {
  return internals(terminal)._inputHandler._parser.precedingJoinState !== 0
}

/** The attributes of what is printed next. */
export function currentAttributes(terminal: Terminal): FullCell {
  return internals(terminal)._inputHandler._curAttrData
}

interface RawColourRequest {
  readonly type: number
  readonly index?: number
  readonly color?: readonly number[]
}
export interface ColourRequest extends Omit<RawColourRequest, 'type'> {
  readonly type: 'report' | 'set' | 'restore' | undefined
}
const COLOUR_REQUESTS = ['report', 'set', 'restore'] as const

/** Calls `listener` for what OSC 4, 10, 11, 12, 104, 110, 111 and 112 ask. Only in a browser xterm.js acts on it itself. */
export function onColourRequest(terminal: Terminal, listener: (requests: readonly ColourRequest[]) => void): void {
  internals(terminal)._inputHandler.onColor((event) =>
    listener(event.map((request) => ({ ...request, type: COLOUR_REQUESTS[request.type] }))),
  )
}

function internals(terminal: Terminal): Internals['_core'] {
  return (terminal as unknown as Internals)._core
}

/** Parses at once: `write` returns to the event loop first. */
export function writeSync(terminal: Terminal, data: Uint8Array | string): void {
  internals(terminal).writeSync(data)
}

/** What puts a fresh parser into the string that this one is in; '' where it is in none. */
export function reenter(terminal: Terminal): string {
  // SOS, PM and APC; OSC; DCS that is ignored, or not known to anybody.
  const { currentState } = internals(terminal)._inputHandler._parser
  return { 7: '\x1bX', 8: '\x1b]!', 11: '\x1bP!x', 13: '\x1bP!x' }[currentState] ?? ''
}

/** Sequences that set the terminal's modes, for one that starts without its screen. */
export function modesOf(terminal: Terminal, serializer: SerializeAddon): string {
  const modes = (serializer as unknown as { _serializeModes(of: Terminal): string })._serializeModes(terminal)
  return (terminal.buffer.active.type === 'alternate' ? '\x1b[?1049h' : '') + modes + unwrittenModes(terminal)
}

/** Whether the parser is in the middle of an escape sequence, and how many bytes of a UTF-8 character it holds. */
export function pendingInput(terminal: Terminal): { inSequence: boolean; utf8Bytes: number } {
  const { _parser, _utf8Decoder } = internals(terminal)._inputHandler
  return { inSequence: _parser.currentState !== 0, utf8Bytes: _utf8Decoder.interim.findLastIndex((b) => b !== 0) + 1 }
}

const MOUSE_ENCODINGS: Readonly<Record<string, string>> = { SGR: '\x1b[?1006h', SGR_PIXELS: '\x1b[?1016h' }
const CURSOR_STYLES: Readonly<Record<string, number>> = { block: 1, underline: 3, bar: 5 }

/** Sequences for modes that addon-serialize 0.14 does not write, to be appended to what it writes. */
export function unwrittenModes(terminal: Terminal): string {
  const core = internals(terminal)
  const { cursorStyle, cursorBlink } = core.coreService.decPrivateModes
  const style = cursorStyle === undefined ? undefined : CURSOR_STYLES[cursorStyle]
  return [
    core._charsetService._charsets
      .slice(0, 2)
      .map((set, g) => (isLineDrawing(set) ? `\x1b${'()'[g]}0` : ''))
      .join(''),
    core._charsetService.glevel === 1 ? '\x0e' : '',
    MOUSE_ENCODINGS[core.coreMouseService.activeEncoding] ?? '',
    style === undefined ? '' : `\x1b[${cursorBlink === false ? style + 1 : style} q`,
    core.coreService.isCursorHidden ? '\x1b[?25l' : '',
    core._inputHandler._windowTitle ? `\x1b]0;${core._inputHandler._windowTitle}\x07` : '',
  ].join('')
}

function isLineDrawing(charset: Record<string, string> | undefined): boolean {
  return charset?.['q'] === '\u2500'
}
