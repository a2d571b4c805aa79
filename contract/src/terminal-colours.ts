/** The colours in which a viewer's terminal is drawn, each as `#rrggbb`. */
export interface TerminalColours {
  readonly foreground: string
  readonly background: string
  readonly cursor: string
  /** The first 16 of the palette: the eight of ANSI, then their bright ones. */
  readonly palette: readonly string[]
}

/** The page's dark colours. A program is told these as long as no viewer has told others. */
export const DARK_COLOURS: TerminalColours = {
  foreground: '#d5dae3',
  background: '#12151b',
  cursor: '#8fb4ff',
  palette: paletteOf(
    '#1d222b #f07178 #8ccf7e #e5c76b #71a7f5 #c792ea #6cc9d3 #c8ced9',
    '#6b7482 #ff8f96 #a6e29a #f4dc8f #94bfff #dbb0f7 #8fe0e8 #f2f5fa',
  ),
}

export const LIGHT_COLOURS: TerminalColours = {
  foreground: '#24292f',
  background: '#fdfdfc',
  cursor: '#2f6feb',
  palette: paletteOf(
    '#24292f #c4303b #1a7a3c #8a6100 #1f5fcc #8a3fc4 #0e7483 #6b7380',
    '#59616c #d6404b #22924a #a17400 #3574e3 #9d55d6 #148a9b #454c56',
  ),
}

/** From the eight of ANSI and their bright ones. */
function paletteOf(normal: string, bright: string): readonly string[] {
  return `${normal} ${bright}`.split(' ')
}

/** What a viewer says of its colours; undefined where that is not all of them. */
export function parseColours(value: unknown): TerminalColours | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { foreground, background, cursor, palette } = value as Record<string, unknown>
  if (!isColour(foreground) || !isColour(background) || !isColour(cursor)) return undefined
  if (!Array.isArray(palette) || palette.length !== 16 || !palette.every(isColour)) return undefined
  return { foreground, background, cursor, palette }
}

function isColour(value: unknown): value is string {
  return typeof value === 'string' && /^#[\da-f]{6}$/i.test(value)
}

/** Whether text is brighter than what it stands on. */
export function isDark({ foreground, background }: Pick<TerminalColours, 'foreground' | 'background'>): boolean {
  return luminance(background) < luminance(foreground)
}

/** Perceived brightness, as in ITU-R BT.601. */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
  return 0.299 * red + 0.587 * green + 0.114 * blue
}
