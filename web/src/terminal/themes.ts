import type { ITheme } from '@xterm/xterm'
import { DARK_COLOURS, LIGHT_COLOURS, type TerminalColours } from '@cliscale/contract/terminal'

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'] as const
const BRIGHT_NAMES = [
  'brightBlack',
  'brightRed',
  'brightGreen',
  'brightYellow',
  'brightBlue',
  'brightMagenta',
  'brightCyan',
  'brightWhite',
] as const

/** Two quiet palettes; xterm.js raises the contrast of text that is too faint (minimumContrastRatio). */
export const DARK = themeOf(DARK_COLOURS, {
  selectionBackground: '#34507c',
  selectionInactiveBackground: '#3d5f96',
  scrollbarSliderBackground: '#ffffff24',
  scrollbarSliderHoverBackground: '#ffffff3d',
  scrollbarSliderActiveBackground: '#ffffff52',
})

export const LIGHT = themeOf(LIGHT_COLOURS, {
  selectionBackground: '#b6d2ff',
  selectionInactiveBackground: '#9cc3ff',
  scrollbarSliderBackground: '#00000024',
  scrollbarSliderHoverBackground: '#0000003d',
  scrollbarSliderActiveBackground: '#00000052',
})

function themeOf({ foreground, background, cursor, palette }: TerminalColours, rest: ITheme): ITheme {
  const names = [...NAMES, ...BRIGHT_NAMES]
  const ansi = Object.fromEntries(names.map((name, index) => [name, palette[index]]))
  return { foreground, background, cursor, cursorAccent: background, ...ansi, ...rest }
}
