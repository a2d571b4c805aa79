import { ClientType } from '@cliscale/contract'

export type ClientMessage =
  | { readonly type: 'hello'; readonly value: Readonly<Record<string, unknown>> }
  | { readonly type: 'input'; readonly bytes: Buffer }
  | { readonly type: 'typed'; readonly at: number; readonly ahead: boolean; readonly bytes: Buffer }
  | { readonly type: 'resize'; readonly value: Readonly<Record<string, unknown>> }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'ack'; readonly seq: number }
  | { readonly type: 'ignored' }

/**
 * Reads a viewer's message; what cannot be understood is `ignored`, as ttyd does. A first message whose JSON is broken
 * is still a first message, without wishes.
 */
export function decodeClientMessage(message: Buffer): ClientMessage {
  switch (message[0]) {
    case ClientType.first:
      return { type: 'hello', value: object(message) ?? {} }
    case ClientType.input:
      return { type: 'input', bytes: message.subarray(1) }
    case ClientType.resize: {
      const value = object(message.subarray(1))
      return value ? { type: 'resize', value } : { type: 'ignored' }
    }
    case ClientType.pause:
      return { type: 'pause' }
    case ClientType.resume:
      return { type: 'resume' }
    case ClientType.ack: {
      const seq = object(message.subarray(1))?.['seq']
      return isOffset(seq) ? { type: 'ack', seq } : { type: 'ignored' }
    }
    case ClientType.typed:
      return typed(message)
    default:
      return { type: 'ignored' }
  }
}

/** Whether a value can be an offset of output. */
export function isOffset(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function typed(message: Buffer): ClientMessage {
  const lf = message.indexOf(0x0a)
  const head = lf === -1 ? undefined : object(message.subarray(1, lf))
  const at = head?.['at']
  if (!isOffset(at)) return { type: 'ignored' }
  return { type: 'typed', at, ahead: head?.['ahead'] === true, bytes: message.subarray(lf + 1) }
}

function object(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
