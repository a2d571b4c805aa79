import type { Terminal } from '@xterm/xterm'

/** The text of the normal screen and its scrollback; wrapped lines are joined. */
export function bufferText(terminal: Terminal): string {
  const buffer = terminal.buffer.normal
  const lines: string[] = []
  for (let row = 0; row < buffer.length; row++) {
    const line = buffer.getLine(row)
    if (line === undefined) continue
    const isBrokenAgain = buffer.getLine(row + 1)?.isWrapped === true
    const text = line.translateToString(!isBrokenAgain)
    if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text
    else lines.push(text)
  }
  while (lines.at(-1) === '') lines.pop()
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}
