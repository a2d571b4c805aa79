import type { Terminal } from '@xterm/headless'
import { drawCell, penOf } from './screen-cells.ts'
import { cursorOf, type FullCell } from './screen-internals.ts'

/** How far apart tab stops are by themselves. */
const TAB_COLUMNS = 8
/** The addon has moved the cursor at the end of what it draws, and counts wrongly from behind the last column. */
const MOVED = /\x1b\[\d+[ABCD](?:\x1b\[[\d;:?]*[mhl])*$/

/**
 * Sequences for what addon-serialize 0.14 does not write of the cursor: tab stops, the scroll region, the place and
 * colours that ESC 7 saved, and the cursor itself where it is not sure to be (xtermjs/xterm.js#6165, #3433). '' where
 * `drawn`, which the addon wrote, has it all; else colours and flags are to be set again.
 */
export function cursorState(terminal: Terminal, drawn: string): string {
  const before = tabStops(terminal) + region(terminal) + savedCursor(terminal)
  if (before === '' && !MOVED.test(drawn)) return ''
  const { cursorX, cursorY, baseY } = terminal.buffer.active
  if (cursorX < terminal.cols) return before + moveTo(terminal, cursorX, cursorY)
  // Behind the last column, where no sequence leads: its character is written once more.
  const line = terminal.buffer.active.getLine(baseY + cursorY)
  const cell = (x: number): FullCell | undefined => line?.getCell(x) as FullCell | undefined
  const last = terminal.cols - (cell(terminal.cols - 1)?.getWidth() === 0 ? 2 : 1)
  return before + moveTo(terminal, last, cursorY) + drawCell(terminal, cell(last) as FullCell)
}

function tabStops(terminal: Terminal): string {
  const { tabs } = cursorOf(terminal)
  const columns = Array.from({ length: terminal.cols }, (_, x) => x)
  if (columns.every((x) => (tabs[x] === true) === (x % TAB_COLUMNS === 0))) return ''
  const stops = columns.filter((x) => tabs[x] === true).map((x) => `\x1b[${x + 1}G\x1bH`)
  return `\x1b[3g${stops.join('')}`
}

/** Moves the cursor home. */
function region(terminal: Terminal): string {
  const { scrollTop, scrollBottom } = cursorOf(terminal)
  if (scrollTop === 0 && scrollBottom === terminal.rows - 1) return ''
  return `\x1b[${scrollTop + 1};${scrollBottom + 1}r`
}

function savedCursor(terminal: Terminal): string {
  const { savedX, savedY, savedCurAttrData, ybase } = cursorOf(terminal)
  const pen = penOf(savedCurAttrData)
  if (savedX === 0 && savedY === 0 && pen === '\x1b[0m') return ''
  return `${moveTo(terminal, savedX, Math.max(0, savedY - ybase))}${pen}\x1b7`
}

function moveTo(terminal: Terminal, x: number, y: number): string {
  const top = terminal.modes.originMode ? cursorOf(terminal).scrollTop : 0
  return `\x1b[${y - top + 1};${x + 1}H`
}
