import { ClientType, encodeBytes, MAX_CLIENT_MESSAGE_BYTES } from '@cliscale/contract/terminal'

/** INPUT messages that carry the bytes in order, none larger than a server takes. */
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
