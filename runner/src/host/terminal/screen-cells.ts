import type { IBuffer, IBufferCell, IBufferLine, Terminal } from '@xterm/headless'
import { createWidths } from '@cliscale/contract/terminal-widths'
import { currentAttributes, extendedLines, findLink, type FullCell } from './screen-internals.ts'

/** Addresses of links in one buffer of a snapshot, in UTF-16 units: of the newest lines, and at most. */
const LINK_UNITS = { wanted: 256 * 1024, most: 512 * 1024 } as const
/** What stands around an address. */
const LINK_FRAME_UNITS = 16

const COLOUR_MODE = 0x3000000
const RGB_MODE = 0x3000000
const UNDERLINE_STYLE = 0x1c000000

interface DecoratedCell extends FullCell {
  before: string
  after: string
  /** The second half of a wide character whose first half is gone, as an insertion in between leaves it. */
  isOrphan: boolean
}

interface Links {
  /** What draws the beginning of a link in this row; '' where it has none, or too many came before. */
  open(urlId: number, row: number): string
}

/**
 * `terminal` for addon-serialize 0.14 to read, which draws neither links (OSC 8) nor styles and colours of underlines
 * (https://github.com/xtermjs/xterm.js/issues/4531, 4528): the text of each cell that has them, or could join its
 * neighbour, comes with the sequences that the addon leaves out, and with those that take them back.
 */
export function withWholeCells(terminal: Terminal): Terminal {
  const buffer = {
    get normal() {
      return wholeBuffer(terminal, terminal.buffer.normal)
    },
    get alternate() {
      return wholeBuffer(terminal, terminal.buffer.alternate)
    },
    get active() {
      return terminal.buffer.active
    },
  }
  return Object.create(terminal, { buffer: { value: buffer } }) as Terminal
}

/** What the addon leaves out of the attributes of text to come; all of them where something was drawn after it. */
export function droppedAttributes(terminal: Terminal, isPenLost: boolean): string {
  const cell = currentAttributes(terminal)
  return (isPenLost ? penOf(cell) : '') + openStyle(cell) + openLink(terminal, cell.extended.urlId)
}

/** Draws one cell, whatever was set before. */
export function drawCell(terminal: Terminal, cell: FullCell): string {
  const link = openLink(terminal, cell.extended.urlId)
  return penOf(cell) + openStyle(cell) + link + (cell.getChars() || ' ') + close(cell)
}

/** Sets colours and flags, and nothing else. */
export function penOf(cell: FullCell): string {
  return `\x1b[${sgrOf(cell)}m`
}

function wholeBuffer(terminal: Terminal, buffer: IBuffer): IBuffer {
  const Cell = wholeCell(buffer)
  const links = limitedLinks(terminal, buffer)
  const scratch = buffer.getNullCell() as FullCell
  const getLine = (row: number): IBufferLine | undefined => {
    const line = buffer.getLine(row)
    return line && new WholeLine(line, { row, links, scratch, above: buffer.getLine(row - 1) })
  }
  return Object.create(buffer, {
    getLine: { value: getLine },
    getNullCell: { value: () => new Cell() },
  }) as IBuffer
}

type CellClass = new () => FullCell
const cellClasses = new WeakMap<CellClass, CellClass>()

/** Their class, and not each cell, is changed: a snapshot asks millions of cells. */
function wholeCell(buffer: IBuffer): CellClass {
  const Base = buffer.getNullCell().constructor as CellClass
  const known = cellClasses.get(Base)
  if (known) return known
  class WholeCell extends Base implements DecoratedCell {
    before = ''
    after = ''
    isOrphan = false

    override getChars(): string {
      const chars = super.getChars()
      return chars < '\u0300' && this.before === '' && this.after === '' ? chars : whole(chars, this)
    }
    /** What takes no column and has nothing before it lies in a cell of its own, which the addon would leave out. */
    override getWidth(): number {
      const width = super.getWidth()
      return width === 0 && (this.isOrphan || super.getChars() !== '') ? 1 : width
    }
  }
  cellClasses.set(Base, WholeCell)
  return WholeCell
}

class WholeLine implements IBufferLine {
  readonly #line: IBufferLine
  readonly #place: Omit<Place, 'column'>

  constructor(line: IBufferLine, place: Omit<Place, 'column'>) {
    this.#line = line
    this.#place = place
  }

  /**
   * A line without a first character, as half of a wide one leaves it, can't be reached by wrapping. Where nothing is in
   * the line above, as one that was inserted, the addon would leave a dash in it.
   */
  get isWrapped(): boolean {
    const { above, scratch } = this.#place
    if (!this.#line.isWrapped || above?.translateToString(true) === '') return false
    return this.#line.getCell(0, scratch)?.getChars() !== ''
  }
  get length(): number {
    return this.#line.length
  }
  getCell(column: number, target?: IBufferCell): IBufferCell | undefined {
    const cell = this.#line.getCell(column, target) as DecoratedCell | undefined
    if (cell === undefined || target === undefined) return cell
    cell.before = cell.after = ''
    cell.isOrphan = false
    cell.isOrphan = cell.getWidth() === 0 && this.#line.getCell(column - 1, this.#place.scratch)?.getWidth() !== 2
    if (cell.hasExtendedAttrs()) decorate(cell, this.#line, { ...this.#place, column })
    return cell
  }
  translateToString(trimRight?: boolean, startColumn?: number, endColumn?: number): string {
    return this.#line.translateToString(trimRight, startColumn, endColumn)
  }
}

/** Ends what later characters could join (ST, which does nothing else). */
const BREAK = '\x1b\\'
const widths = createWidths()

function whole(chars: string, { before, after }: DecoratedCell): string {
  if (chars === '') return ''
  // What stands by itself must not join what is drawn before it: half a flag, a tone, a mark; nor a joiner what follows.
  const first = chars.codePointAt(0) as number
  const start = first >= 0x300 && (widths.wcwidth(first) === 0 || isFlagOrTone(first)) ? BREAK : ''
  const end = chars.endsWith('\u200d') ? BREAK : ''
  return start + before + chars + end + after
}

function isFlagOrTone(code: number): boolean {
  return (code >= 0x1f1e6 && code <= 0x1f1ff) || (code >= 0x1f3fb && code <= 0x1f3ff)
}

interface Place {
  readonly row: number
  readonly above: IBufferLine | undefined
  readonly column: number
  readonly links: Links
  readonly scratch: FullCell
}

/** Sequences stand where a run of equal cells begins and where it ends: between these the addon draws none. */
function decorate(cell: DecoratedCell, line: IBufferLine, { row, column, links, scratch }: Place): void {
  if (cell.getWidth() === 0 || isPlain(cell)) return
  const isEqual = (at: number): boolean => {
    const other = at < 0 ? undefined : (line.getCell(at, scratch) as FullCell | undefined)
    return other !== undefined && other.getChars() !== '' && isSame(cell, other)
  }
  const before = column > 1 && line.getCell(column - 2, scratch)?.getWidth() === 2 ? column - 2 : column - 1
  if (!isEqual(before)) cell.before = openStyle(cell) + links.open(cell.extended.urlId, row)
  if (!isEqual(column + cell.getWidth())) cell.after = close(cell)
}

function isPlain(cell: FullCell): boolean {
  const { urlId, underlineColor } = cell.extended
  return urlId === 0 && underlineColor === 0 && styleOf(cell) === drawnStyle(cell)
}

function isSame(a: FullCell, b: FullCell): boolean {
  if (a.fg !== b.fg || a.bg !== b.bg || !b.hasExtendedAttrs()) return false
  return a.extended.urlId === b.extended.urlId && a.extended._ext === b.extended._ext
}

/** The underline of the text itself; a link is shown with another one. */
function styleOf(cell: FullCell): number {
  return cell.hasExtendedAttrs() ? (cell.extended._ext & UNDERLINE_STYLE) >>> 26 : 0
}

/** What the addon makes of it. */
function drawnStyle(cell: FullCell): number {
  return cell.isUnderline() ? 1 : 0
}

function openStyle(cell: FullCell): string {
  const style = styleOf(cell) === drawnStyle(cell) ? '' : `\x1b[4:${styleOf(cell)}m`
  const colour = cell.extended.underlineColor
  if (colour === 0) return style
  const rgb = [16, 8, 0].map((bits) => (colour >>> bits) & 0xff).join(';')
  return `${style}\x1b[58;${(colour & COLOUR_MODE) === RGB_MODE ? `2;${rgb}` : `5;${colour & 0xff}`}m`
}

function openLink(terminal: Terminal, urlId: number): string {
  const link = urlId === 0 ? undefined : findLink(terminal, urlId)
  return link === undefined ? '' : `\x1b]8;${link.id === undefined ? '' : `id=${link.id}`};${link.uri}\x1b\\`
}

/** Back to what the addon thinks that it has set. In xterm.js 6.0.0 SGR 59 makes underlines white: SGR 0 does not. */
function close(cell: FullCell): string {
  const link = cell.extended.urlId === 0 ? '' : '\x1b]8;;\x1b\\'
  if (cell.extended.underlineColor !== 0) return `\x1b[${sgrOf(cell)}m${link}`
  return (styleOf(cell) === drawnStyle(cell) ? '' : `\x1b[4:${drawnStyle(cell)}m`) + link
}

function sgrOf(cell: FullCell): string {
  const flags = [
    [1, cell.isBold()],
    [2, cell.isDim()],
    [3, cell.isItalic()],
    [4, cell.isUnderline()],
    [5, cell.isBlink()],
    [7, cell.isInverse()],
    [8, cell.isInvisible()],
    [9, cell.isStrikethrough()],
    [53, cell.isOverline()],
  ]
  const set = flags.flatMap(([number, isSet]) => (isSet ? [number as number] : []))
  const foreground = colour(38, cell.getFgColor(), cell.isFgRGB(), cell.isFgPalette())
  const background = colour(48, cell.getBgColor(), cell.isBgRGB(), cell.isBgPalette())
  return [0, ...set, ...foreground, ...background].join(';')
}

function colour(base: number, value: number, isRgb: boolean, isPalette: boolean): number[] {
  if (isRgb) return [base, 2, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]
  return isPalette ? [base, 5, value] : []
}

/** Links of the newest rows, as far as their addresses fit: an address stands wherever its link begins anew. */
function limitedLinks(terminal: Terminal, buffer: IBuffer): Links {
  const from = firstRowOfLinks(terminal, buffer)
  let units = 0
  return {
    open(urlId, row) {
      const text = row < from || units > LINK_UNITS.most ? '' : openLink(terminal, urlId)
      units += text.length
      return text
    },
  }
}

function firstRowOfLinks(terminal: Terminal, buffer: IBuffer): number {
  const lines = extendedLines(terminal, buffer.type)
  let units = 0
  for (let row = lines.length - 1; row >= 0; row--) {
    let before = 0
    for (const attributes of Object.values(lines.get(row)?._extendedAttrs ?? {})) {
      const urlId = attributes?.urlId ?? 0
      if (urlId !== before && urlId !== 0) units += LINK_FRAME_UNITS + (findLink(terminal, urlId)?.uri.length ?? 0)
      before = urlId
    }
    if (units > LINK_UNITS.wanted) return row + 1
  }
  return 0
}
