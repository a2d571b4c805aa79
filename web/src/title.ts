/** Characters of a program's title that are shown. */
export const MAX_TITLE_CHARS = 80
const NAME = 'CLI Scale'

// Control characters, and what reorders or hides text: bidi marks, zero-width characters, line separators, BOM.
// oxlint-disable-next-line no-control-regex -- control characters are the point
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** A title that a program chose, made safe to show: no controls, no direction tricks, at most 80 characters. */
export function cleanTitle(raw: string): string {
  const chars = Array.from(raw.toWellFormed().replace(UNSAFE, ''))
  return chars.slice(0, MAX_TITLE_CHARS).join('').trim()
}

/** The title of the tab. Sign and id come first, so that tabs differ and a program cannot pose as another page. */
export function documentTitle(sign: string, sessionId: string | undefined, raw: string): string {
  const head = [sign, sessionId?.slice(0, 8) ?? ''].filter((part) => part !== '').join(' ')
  return [head, cleanTitle(raw), NAME].filter((part) => part !== '').join(' · ')
}
