/** Keys that a touch screen's keyboard has not. */
export type TouchKey = 'Escape' | 'Tab' | 'ArrowLeft' | 'ArrowUp' | 'ArrowDown' | 'ArrowRight'

const ARROWS: Partial<Record<TouchKey, string>> = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D' }

/** What a terminal sends for a key; `applicationCursor` is the program's choice (DECCKM). */
export function touchKeyData(key: TouchKey, held: { ctrl: boolean; applicationCursor: boolean }): string {
  const arrow = ARROWS[key]
  if (arrow === undefined) return key === 'Escape' ? '\u001b' : '\t'
  if (held.ctrl) return `\u001b[1;5${arrow}`
  return `\u001b${held.applicationCursor ? 'O' : '['}${arrow}`
}

/** A character typed while Ctrl is held: its control character; undefined when it has none. */
export function controlOf(data: string): string | undefined {
  if (data === ' ') return '\0'
  if (data === '?') return '\u007f'
  if (!/^[a-z@[\\\]^_]$/i.test(data)) return undefined
  return String.fromCharCode(data.toUpperCase().charCodeAt(0) & 0x1f)
}
