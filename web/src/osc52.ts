/**
 * How much text a program may put on the clipboard, in bytes of UTF-8. The guard cuts what is longer than its
 * MAX_CLIPBOARD_STRING, which has to be more than this is as base64.
 */
export const MAX_COPIED_BYTES = 75 * 1024
/** The same as base64, which is a third longer. */
const MAX_OSC52_BYTES = (MAX_COPIED_BYTES / 3) * 4
/** The longest selection that is named before it; longer text may have been cut on its way here. */
const MAX_SELECTION_CHARS = 64

/** What OSC 52 asks for; `ignored`: to read (never answered), another selection, or text that is broken. */
export type Osc52 =
  { readonly kind: 'copy'; readonly text: string } | { readonly kind: 'tooLarge' } | { readonly kind: 'ignored' }

const IGNORED: Osc52 = { kind: 'ignored' }
const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Parses the body of OSC 52 (`c;<base64>`; an empty selection means the clipboard too). A program may never read the
 * clipboard.
 */
export function parseOsc52(body: string): Osc52 {
  const at = body.indexOf(';')
  if (at < 0) return IGNORED
  const selection = body.slice(0, at)
  const data = body.slice(at + 1)
  if (selection !== '' && !selection.includes('c')) return IGNORED
  if (data === '' || data === '?') return IGNORED
  if (data.length > MAX_OSC52_BYTES || at > MAX_SELECTION_CHARS) return { kind: 'tooLarge' }
  try {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0))
    return { kind: 'copy', text: decoder.decode(bytes) }
  } catch {
    return IGNORED
  }
}
