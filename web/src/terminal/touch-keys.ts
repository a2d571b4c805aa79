/** Keys that an on-screen keyboard lacks. */
export type TouchKey = 'Escape' | 'Tab' | 'ArrowLeft' | 'ArrowUp' | 'ArrowDown' | 'ArrowRight'

const ARROWS: Partial<Record<TouchKey, string>> = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D' }

/** What a terminal sends for a key; the program chooses `applicationCursor` (DECCKM). */
export function touchKeyData(key: TouchKey, held: { ctrl: boolean; applicationCursor: boolean }): string {
  const arrow = ARROWS[key]
  if (arrow === undefined) return key === 'Escape' ? '\u001b' : '\t'
  if (held.ctrl) return `\u001b[1;5${arrow}`
  return `\u001b${held.applicationCursor ? 'O' : '['}${arrow}`
}

/** The control character of a character that is typed with Ctrl; undefined when there is none. */
export function controlOf(data: string): string | undefined {
  if (data === ' ') return '\0'
  if (data === '?') return '\u007f'
  if (!/^[a-z@[\\\]^_]$/i.test(data)) return undefined
  return String.fromCharCode(data.toUpperCase().charCodeAt(0) & 0x1f)
}
