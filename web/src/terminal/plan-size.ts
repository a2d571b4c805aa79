import type { TerminalSize } from '@cliscale/contract/terminal'

/** The smallest text size to which a larger session shrinks, in pixels; a session that still does not fit scrolls. */
export const MIN_SHRUNK_FONT = 11

/**
 * The text size at which a session of size `session` fits a window that has `room` at text size `fontSize`. Never
 * larger than `fontSize`: a smaller session gets a margin, not larger text.
 */
export function shrunkFontSize(session: TerminalSize, room: TerminalSize, fontSize: number): number {
  const scale = Math.min(1, room.columns / session.columns, room.rows / session.rows)
  if (scale === 1) return fontSize
  const halves = Math.floor(fontSize * scale * 2) / 2
  return Math.min(fontSize, Math.max(MIN_SHRUNK_FONT, halves))
}
