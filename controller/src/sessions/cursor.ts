import { AppError, SESSION_ID_PATTERN } from '@cliscale/contract'
import type { ListPosition } from './store.ts'

/** A place in a list as an opaque text. */
export function encodeCursor(position: ListPosition): string {
  return Buffer.from(`${position.createdAt} ${position.id}`, 'utf8').toString('base64url')
}

/** @throws AppError invalid_field for a text that `encodeCursor` did not make. */
export function decodeCursor(cursor: string): ListPosition {
  const [createdAt = '', id = '', ...rest] = Buffer.from(cursor, 'base64url').toString('utf8').split(' ')
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(createdAt) && !Number.isNaN(Date.parse(createdAt))
  if (rest.length === 0 && isTime && SESSION_ID_PATTERN.test(id)) return { createdAt, id }
  throw new AppError('invalid_field', {
    detail: 'cursor is not valid. Use nextCursor of the previous page, or leave it out to start at the first page.',
    errors: [{ path: 'cursor', message: 'was not returned by this list' }],
  })
}
