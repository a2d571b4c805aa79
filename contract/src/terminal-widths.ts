import { PICTOGRAPHS, TEXT_EMOJI, WIDE, ZERO } from './terminal-widths-table.ts'

/** What xterm.js asks of a version of Unicode (its `IUnicodeVersionProvider`). */
export interface WidthProvider {
  readonly version: string
  wcwidth(code: number): 0 | 1 | 2
  /** `preceding`: what it was for the character before, 0 where there is none. */
  charProperties(code: number, preceding: number): number
}
interface UnicodeTerminal {
  readonly unicode: { register(provider: WidthProvider): void; activeVersion: string }
}

const EMOJI_SELECTOR = 0xfe0f
const JOINER = 0x200d
const MODIFIERS = { first: 0x1f3fb, last: 0x1f3ff } as const
const FLAG_LETTERS = { first: 0x1f1e6, last: 0x1f1ff } as const

/** Bits of an entry of the table beside the width. */
const PICTOGRAPH = 4
const TEXT = 8
/** Code points from here on are looked up by hand: two planes of wide ideographs, and tags and selectors. */
const TABLE_END = 0x20000
const TAGS = { first: 0xe0000, last: 0xe0fff } as const

/** What of the character before decides whether the next one joins it. */
const IS_PICTOGRAPH = 1
const IS_JOINING = 2
const IS_HALF_A_FLAG = 4
const MAY_WIDEN = 8

/**
 * Columns by Unicode 16: of each code point those of glibc's wcwidth, by which programs count, but for emoji that are
 * made of several: one that is joined (ZWJ), toned or a flag is one of two columns, and one that is text by itself
 * takes two with U+FE0F. Session host and page have to use the same, or a snapshot is not what was seen.
 */
export function useUnicode16(terminal: UnicodeTerminal): void {
  terminal.unicode.register(createWidths())
  terminal.unicode.activeVersion = '16'
}

/** Of code points and of what they are joined to. */
export function createWidths(): WidthProvider {
  const table = createTable()
  const entryOf = (code: number): number => (code < TABLE_END ? (table[code] as number) : highEntry(code))
  const wcwidth = (code: number): 0 | 1 | 2 => (entryOf(code) & 3) as 0 | 1 | 2
  const ascii = Uint8Array.from({ length: 0x80 }, (_, code) =>
    properties(stateOf(code, entryOf(code)), entryOf(code) & 3, false),
  )
  const charProperties = (code: number, preceding: number): number => {
    // They join nothing, and are most of what is printed.
    if (code < 0x80) return ascii[code] as number
    const entry = entryOf(code)
    const width = entry & 3
    const oldWidth = (preceding >> 1) & 3
    const state = preceding >> 3
    if (oldWidth > 0) {
      if (width === 0) return joinMark(code, state, oldWidth)
      if (joins(code, entry, state)) return properties(state & IS_PICTOGRAPH, 2, true)
    }
    return properties(stateOf(code, entry), width, false)
  }
  return { version: '16', wcwidth, charProperties }
}

/** What takes no column of its own belongs to the character before; as an emoji that may become wide. */
function joinMark(code: number, state: number, oldWidth: number): number {
  const widens = code === EMOJI_SELECTOR && (state & MAY_WIDEN) !== 0
  const isJoining = code === JOINER && (state & IS_PICTOGRAPH) !== 0
  return properties((state & IS_PICTOGRAPH) | (isJoining ? IS_JOINING : 0), widens ? 2 : oldWidth, true)
}

function joins(code: number, entry: number, state: number): boolean {
  if (state === 0) return false
  if (entry & PICTOGRAPH && state & IS_JOINING) return true
  if (isIn(MODIFIERS, code)) return (state & IS_PICTOGRAPH) !== 0 && (state & IS_JOINING) === 0
  return isIn(FLAG_LETTERS, code) && (state & IS_HALF_A_FLAG) !== 0
}

function stateOf(code: number, entry: number): number {
  if (isIn(FLAG_LETTERS, code)) return IS_HALF_A_FLAG
  return (entry & PICTOGRAPH ? IS_PICTOGRAPH : 0) | (entry & TEXT ? MAY_WIDEN : 0)
}

/** As xterm.js packs them. */
function properties(state: number, width: number, shouldJoin: boolean): number {
  return (state << 3) | (width << 1) | (shouldJoin ? 1 : 0)
}

function isIn({ first, last }: { readonly first: number; readonly last: number }, code: number): boolean {
  return code >= first && code <= last
}

function highEntry(code: number): number {
  if (code < 0x40000) return (code & 0xffff) < 0xfffe ? 2 : 1
  return isIn(TAGS, code) && isTagOrSelector(code) ? 0 : 1
}

function isTagOrSelector(code: number): boolean {
  return code === 0xe0001 || (code >= 0xe0020 && code <= 0xe007f) || (code >= 0xe0100 && code <= 0xe01ef)
}

function createTable(): Uint8Array {
  const table = new Uint8Array(TABLE_END).fill(1)
  // Controls print nothing.
  table.fill(0, 0, 0x20).fill(0, 0x7f, 0xa0)
  each(ZERO, (from, to) => table.fill(0, from, to))
  each(WIDE, (from, to) => table.fill(2, from, to))
  for (const [set, bit] of [
    [PICTOGRAPHS, PICTOGRAPH],
    [TEXT_EMOJI, TEXT],
  ] as const)
    each(set, (from, to) => {
      for (let code = from; code < Math.min(to, TABLE_END); code++) table[code] = (table[code] as number) | bit
    })
  return table
}

function each(set: string, use: (from: number, to: number) => void): void {
  const lengths = set.split(' ').map((length) => Number.parseInt(length, 36))
  let at = 0
  lengths.forEach((length, index) => {
    if (index % 2 === 1) use(at, at + length)
    at += length
  })
}
