/** The part that follows the terminal: a panel as wide as the window, drawn anew when the window changes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { bold, dim, shade } from './paint.js'

const FRAME_MS = 100
const HEIGHT = 7
const BLOCKS = ' ▁▂▃▄▅▆▇█'
const COLOURS = [39, 38, 44, 43, 49, 48, 84, 120, 156, 192]

/** Shows the panel for so many seconds. Without a terminal there is nothing to follow: one line says so. */
export async function panel(seconds) {
  if (seconds === 0) return
  if (!process.stdout.isTTY) {
    console.log('There is no terminal here, so the part that follows its size is left out.')
    return
  }
  const screen = process.stdout
  const resized = { count: 0 }
  const onResize = () => resized.count++
  screen.on('resize', onResize)
  screen.write('\n\u001b[?25l')
  try {
    await animate(screen, seconds, resized)
  } finally {
    screen.off('resize', onResize)
    screen.write('\u001b[?25h')
  }
}

async function animate(screen, seconds, resized) {
  const frames = Math.max(1, Math.round((seconds * 1000) / FRAME_MS))
  let drawnFor
  for (let frame = 0; frame < frames; frame++) {
    const size = { columns: Math.max(20, screen.columns), rows: screen.rows }
    // After a change of width the old lines may have been wrapped anew: the panel starts again below them.
    if (drawnFor === size.columns) screen.write(`\u001b[${HEIGHT}A`)
    else if (drawnFor !== undefined) screen.write('\u001b[J\n')
    drawnFor = size.columns
    screen.write(draw(size, frame, frames, resized.count))
    await sleep(FRAME_MS)
  }
}

/** The panel's lines, each one narrower than the window so that nothing wraps. */
export function draw({ columns, rows }, frame, frames, resizes) {
  const width = columns - 3
  const left = Math.ceil(((frames - frame) * FRAME_MS) / 1000)
  const title = ` ${columns} × ${rows}  resized ${resizes} times  ${left} s left `.slice(0, width)
  const help = ' Change the size of this window: the panel follows. '.slice(0, width)
  const lines = [
    `┌${bold(title)}${'─'.repeat(width - title.length)}┐`,
    ...wave(width, frame).map((line) => `│${line}│`),
    `└${dim(help)}${'─'.repeat(width - help.length)}┘`,
  ]
  return lines.map((line) => `\u001b[2K${line}\n`).join('')
}

function wave(width, frame) {
  const rows = HEIGHT - 2
  const heights = Array.from({ length: width }, (_, x) => {
    const y = Math.sin(x / 7 + frame / 4) * 0.35 + Math.sin(x / 17 - frame / 9) * 0.15 + 0.5
    return Math.round(y * rows * 8)
  })
  return Array.from({ length: rows }, (_, row) => {
    const base = (rows - 1 - row) * 8
    const text = heights.map((height) => BLOCKS[Math.min(8, Math.max(0, height - base))]).join('')
    return shade(COLOURS[(row * 2 + Math.floor(frame / 5)) % COLOURS.length], text)
  })
}
