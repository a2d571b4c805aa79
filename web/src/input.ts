import { ClientType, encodeBytes, MAX_CLIENT_MESSAGE_BYTES } from '@cliscale/contract/terminal'

const encoder = new TextEncoder()

/** Typed or pasted text as UTF-8. Half a surrogate pair becomes U+FFFD. */
export function encodeText(data: string): Uint8Array {
  return encoder.encode(data)
}

/** A binary string of xterm.js (mouse reports in old encodings): one byte for each UTF-16 unit. */
export function encodeBinary(data: string): Uint8Array {
  return Uint8Array.from(data, (char) => char.charCodeAt(0) & 0xff)
}

/** INPUT messages that carry the bytes in order, none larger than a server accepts. */
export function inputMessages(
  bytes: Uint8Array,
  maxMessageBytes = MAX_CLIENT_MESSAGE_BYTES,
): Uint8Array<ArrayBuffer>[] {
  const maxBody = maxMessageBytes - 1
  const messages: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at < bytes.length; at += maxBody) {
    messages.push(encodeBytes(ClientType.input, bytes.subarray(at, at + maxBody)))
  }
  return messages
}
