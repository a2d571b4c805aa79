import type { IBuffer, Terminal } from '@xterm/headless'
import { drawCell, penOf } from './screen-cells.ts'
import { cursorOf, type CursorState, type FullCell } from './screen-internals.ts'

/** How far apart tab stops are by themselves. */
const TAB_COLUMNS = 8
/** The addon has moved the cursor at the end of what it draws, and counts wrongly from behind the last column. */
const MOVED = /\x1b\[\d+[ABCD](?:\x1b\[[\d;:?]*[mhl])*$/
/** What the addon writes between the normal screen and the alternate one. */
const ENTER_ALTERNATE = '\x1b[?1049h\x1b[H'
const DEFAULT_PEN = '\x1b[0m'

/**
 * Sequences for what addon-serialize 0.14 does not write of the cursor: tab stops, the scroll region, the place and
 * colours that ESC 7 saved, and the cursor itself where it is not sure to be (xtermjs/xterm.js#6165, #3433), or in
 * column `x` of its row. '' where `drawn`, which the addon wrote, has it all; else colours and flags are to be set again.
 */
export function cursorState(terminal: Terminal, drawn: string, x?: number): string {
  const { active } = terminal.buffer
  const state = cursorOf(terminal, active.type)
  const top = terminal.modes.originMode ? state.scrollTop : 0
  const before = tabStops(terminal, state) + region(terminal, state) + savedCursor(state, top)
  if (x !== undefined) return before + moveTo(x, active.cursorY - top)
  if (before === '' && !MOVED.test(drawn)) return ''
  return before + placeCursor(terminal, active, top)
}

/**
 * `drawn` with what the addon leaves out of the normal screen while the alternate one is shown: tab stops, the scroll
 * region, and the cursor and colours to which the program comes back.
 */
export function withNormalState(terminal: Terminal, drawn: string): string {
  if (terminal.buffer.active.type === 'normal') return drawn
  const at = drawn.indexOf(ENTER_ALTERNATE)
  const normal = drawn.slice(0, at)
  const state = cursorOf(terminal, 'normal')
  const before = tabStops(terminal, state) + region(terminal, state)
  const place = before === '' && !MOVED.test(normal) ? '' : placeCursor(terminal, terminal.buffer.normal, 0)
  // ENTER_ALTERNATE saves the pen; behind it the addon expects the default one.
  const enter = penOf(state.savedCurAttrData) + ENTER_ALTERNATE + DEFAULT_PEN
  return normal + before + place + enter + drawn.slice(at + ENTER_ALTERNATE.length)
}

/** Puts the cursor where `buffer` has it; `top` is the row that counts as the first. */
function placeCursor(terminal: Terminal, buffer: IBuffer, top: number): string {
  const { cursorX, cursorY, baseY } = buffer
  if (cursorX < terminal.cols) return moveTo(cursorX, cursorY - top)
  // Behind the last column, where no sequence leads: its character is written once more.
  const line = buffer.getLine(baseY + cursorY)
  const cell = (x: number): FullCell | undefined => line?.getCell(x) as FullCell | undefined
  const last = terminal.cols - (cell(terminal.cols - 1)?.getWidth() === 0 ? 2 : 1)
  return moveTo(last, cursorY - top) + drawCell(terminal, cell(last) as FullCell)
}

function tabStops(terminal: Terminal, { tabs }: CursorState): string {
  const columns = Array.from({ length: terminal.cols }, (_, x) => x)
  if (columns.every((x) => (tabs[x] === true) === (x % TAB_COLUMNS === 0))) return ''
  const stops = columns.filter((x) => tabs[x] === true).map((x) => `\x1b[${x + 1}G\x1bH`)
  return `\x1b[3g${stops.join('')}`
}

/** Moves the cursor home. */
function region(terminal: Terminal, { scrollTop, scrollBottom }: CursorState): string {
  if (scrollTop === 0 && scrollBottom === terminal.rows - 1) return ''
  return `\x1b[${scrollTop + 1};${scrollBottom + 1}r`
}

function savedCursor({ savedX, savedY, savedCurAttrData, ybase }: CursorState, top: number): string {
  const pen = penOf(savedCurAttrData)
  if (savedX === 0 && savedY === 0 && pen === DEFAULT_PEN) return ''
  return `${moveTo(savedX, Math.max(0, savedY - ybase) - top)}${pen}\x1b7`
}

function moveTo(x: number, y: number): string {
  return `\x1b[${y + 1};${x + 1}H`
}
