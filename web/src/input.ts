const encoder = new TextEncoder()

/** Typed or pasted text as UTF-8. Half a surrogate pair becomes U+FFFD. */
export function encodeText(data: string): Uint8Array {
  return encoder.encode(data)
}

/** A binary string of xterm.js (mouse reports in old encodings): one byte for each UTF-16 unit. */
export function encodeBinary(data: string): Uint8Array {
  return Uint8Array.from(data, (char) => char.charCodeAt(0) & 0xff)
}
