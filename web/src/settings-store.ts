export type ThemeChoice = 'auto' | 'light' | 'dark'

export interface Settings {
  readonly fontSize: number
  readonly theme: ThemeChoice
  readonly screenReader: boolean
  /** Ctrl-F opens the search instead of reaching the program. Not offered on a Mac, where ⌘F opens it. */
  readonly findKey: boolean
  /** Esc, then Tab moves the focus out of the terminal. */
  readonly leaveKey: boolean
  /** On a Mac, Option works as Meta; otherwise it types special characters. */
  readonly optionIsMeta: boolean
}

export const DEFAULT_SETTINGS: Settings = {
  fontSize: 14,
  theme: 'auto',
  screenReader: false,
  findKey: true,
  leaveKey: true,
  optionIsMeta: false,
}
export const FONT_SIZES = { min: 9, max: 28 } as const
const KEY = 'cliscale.settings'

/** Reads what this browser keeps. Anything missing, broken or out of range is the default. */
export function readSettings(storage: Pick<Storage, 'getItem'>): Settings {
  try {
    const raw = JSON.parse(storage.getItem(KEY) ?? '{}') as Partial<Record<keyof Settings, unknown>>
    const { fontSize, theme, screenReader, findKey, leaveKey, optionIsMeta } = raw
    return {
      fontSize: typeof fontSize === 'number' ? clampFontSize(fontSize) : DEFAULT_SETTINGS.fontSize,
      theme: theme === 'light' || theme === 'dark' ? theme : 'auto',
      screenReader: screenReader === true,
      findKey: findKey !== false,
      leaveKey: leaveKey !== false,
      optionIsMeta: optionIsMeta === true,
    }
  } catch {
    return DEFAULT_SETTINGS
  }
}

/** Saves settings; a browser that refuses (private mode, storage full) is no error. */
export function writeSettings(storage: Pick<Storage, 'setItem'>, settings: Settings): void {
  try {
    storage.setItem(KEY, JSON.stringify(settings))
  } catch {
    // They still apply to this page.
  }
}

export function clampFontSize(size: number): number {
  if (!Number.isFinite(size)) return DEFAULT_SETTINGS.fontSize
  return Math.min(FONT_SIZES.max, Math.max(FONT_SIZES.min, Math.round(size)))
}
