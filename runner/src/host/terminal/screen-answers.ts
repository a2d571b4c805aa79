import type { IDisposable, Terminal } from '@xterm/headless'

/** What programs are told for OSC 10, 11 and 12 (text, background, cursor): dark, as X11 rgb: values. */
const SPECIAL_COLOURS = ['d4d4/d4d4/d4d4', '1010/1414/1818', 'd4d4/d4d4/d4d4']
const ANSI_HEX = [
  '000000 cd3131 0dbc79 e5e510 2472c8 bc3fbc 11a8cd e5e5e5',
  '666666 f14c4c 23d18b f5f543 3b8eea d670d6 29b8db ffffff',
]
  .join(' ')
  .split(' ')

/** The colour of a place in the 256-colour palette (xterm's cube and greys above the first 16). */
export function paletteColour(index: number): string | undefined {
  if (!Number.isInteger(index) || index < 0 || index > 255) return undefined
  return toX11(index < 16 ? (ANSI_HEX[index] as string) : index < 232 ? cube(index - 16) : grey(index - 232))
}

function cube(n: number): string {
  const level = (v: number): string => (v === 0 ? 0 : 55 + v * 40).toString(16).padStart(2, '0')
  return level(Math.floor(n / 36)) + level(Math.floor(n / 6) % 6) + level(n % 6)
}

function grey(n: number): string {
  return (8 + n * 10).toString(16).padStart(2, '0').repeat(3)
}

function toX11(hex: string): string {
  return [0, 2, 4].map((at) => hex.slice(at, at + 2).repeat(2)).join('/')
}

/**
 * Adds the answers that @xterm/headless 6.0.0 does not give by itself: OSC 4, 10, 11, 12 with `?` and XTVERSION.
 * Device attributes, status, cursor position, DECRQM and DECRQSS it answers; what is left (kitty keyboard, window
 * reports, XTGETTCAP) stays unanswered, which programs read as "not supported".
 */
export function addAnswers(terminal: Terminal, answer: (text: string) => void): IDisposable[] {
  const special = (code: number) =>
    terminal.parser.registerOscHandler(code, (data) => {
      // `OSC 10;?;?` asks for 10 and 11 in one go.
      data.split(';').forEach((field, i) => {
        const known = SPECIAL_COLOURS[code - 10 + i]
        if (field === '?' && known !== undefined) answer(`\x1b]${code + i};rgb:${known}\x1b\\`)
      })
      return true
    })
  return [
    special(10),
    special(11),
    special(12),
    terminal.parser.registerOscHandler(4, (data) => {
      const fields = data.split(';')
      for (let i = 0; i + 1 < fields.length; i += 2) {
        const known = /^\d{1,3}$/.test(fields[i] ?? '') ? paletteColour(Number(fields[i])) : undefined
        if (fields[i + 1] === '?' && known !== undefined) answer(`\x1b]4;${fields[i]};rgb:${known}\x1b\\`)
      }
      return true
    }),
    terminal.parser.registerCsiHandler({ prefix: '>', final: 'q' }, () => {
      answer('\x1bP>|xterm.js(6.0.0)\x1b\\')
      return true
    }),
  ]
}
