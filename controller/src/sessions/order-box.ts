import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { WorkOrder } from '@cliscale/contract'
import { deriveKey } from './data-key.ts'

/** First byte of every ciphertext; another value means another layout. */
const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + NONCE_BYTES

/**
 * Encrypts a work order for the table `session_orders`: AES-256-GCM with a key derived from the data key, the session
 * id as additional data, so that a row that is moved to another session cannot be opened.
 *
 * Layout: version (1 byte), nonce (12), ciphertext, tag (16).
 */
export function sealOrder(dataKey: Buffer, sessionId: string, order: WorkOrder): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', deriveKey(dataKey, 'order v1'), nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(additionalData(sessionId))
  const body = Buffer.concat([cipher.update(JSON.stringify(order), 'utf8'), cipher.final()])
  return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()])
}

/**
 * Opens what `sealOrder` made.
 *
 * @throws Error when the data key, the session or the bytes are not the same as then, or the version is unknown; its
 *   message holds nothing of the order.
 */
export function openOrder(dataKey: Buffer, sessionId: string, ciphertext: Buffer): WorkOrder {
  if (ciphertext[0] !== VERSION || ciphertext.length < HEAD_BYTES + TAG_BYTES)
    throw new Error(`the work order of session ${sessionId} has a layout that this version does not know`)
  const nonce = ciphertext.subarray(1, HEAD_BYTES)
  const body = ciphertext.subarray(HEAD_BYTES, -TAG_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', deriveKey(dataKey, 'order v1'), nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(additionalData(sessionId))
  decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES))
  let text: string
  try {
    text = Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8')
  } catch (cause) {
    throw new Error(`the work order of session ${sessionId} cannot be opened with this data key`, { cause })
  }
  return WorkOrder.parse(JSON.parse(text))
}

function additionalData(sessionId: string): Buffer {
  return Buffer.from(`${VERSION}:${sessionId}`, 'utf8')
}
