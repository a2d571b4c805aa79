/** How much base64 text a program may put on the clipboard, in bytes. */
export const MAX_OSC52_BYTES = 100 * 1024

/** What OSC 52 asks for; `ignored`: to read (never answered), another selection, or text that is too large or broken. */
export type Osc52 = { readonly kind: 'copy'; readonly text: string } | { readonly kind: 'ignored' }

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
  if (data === '' || data === '?' || data.length > MAX_OSC52_BYTES) return IGNORED
  try {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0))
    return { kind: 'copy', text: decoder.decode(bytes) }
  } catch {
    return IGNORED
  }
}
