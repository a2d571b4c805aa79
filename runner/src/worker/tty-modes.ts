/** What a terminal does with the bytes that it is given. */
export interface TtyModes {
  /** Bytes that it makes a signal of, and flushes its input for: empty in raw mode. */
  readonly signals: ReadonlySet<number>
  /** The program gets whole lines, each cut after MAX_LINE_BYTES. */
  readonly isByLine: boolean
}

/** What a terminal holds of one line, without its end (Linux: N_TTY_BUF_SIZE; macOS: MAX_CANON). */
export const MAX_LINE_BYTES = process.platform === 'darwin' ? 1024 : 4095

/** Ctrl-C, Ctrl-\ and Ctrl-Z: what makes a signal where nothing else was chosen, and while no terminal is there. */
export const DEFAULT_SIGNALS: ReadonlySet<number> = new Set([0x03, 0x1c, 0x1a])
/** The terminal's modes cannot be known: everything stays in its order. */
export const UNKNOWN_MODES: TtyModes = { signals: new Set(), isByLine: false }

/** Reads what `stty -a` prints in the C locale. */
export function parseModes(text: string): TtyModes {
  const flags = new Set(text.split(/[\s;]+/))
  const isByLine = flags.has('icanon')
  // With noflsh the terminal keeps what was typed before; so do we.
  if (!flags.has('isig') || flags.has('noflsh')) return { signals: new Set(), isByLine }
  const bytes = ['intr', 'quit', 'susp'].map((name) => keyOf(new RegExp(`\\b${name} = (\\S+);`).exec(text)?.[1]))
  return { isByLine, signals: new Set(bytes.filter((byte) => byte !== undefined)) }
}

/** The byte of a key as stty writes it: `^C`, `^?`, `q`; undefined for one that is switched off. */
function keyOf(name: string | undefined): number | undefined {
  if (name === undefined) return undefined
  if (name.length === 1) return name.charCodeAt(0)
  if (name.length === 2 && name.startsWith('^')) return name.charCodeAt(1) ^ 0x40
  return undefined
}
