import type { Request } from 'express'
import { type Fault, throwFaults } from '../sessions/faults.ts'

const MAX_LIMIT = 100
const DEFAULT_LIMIT = 50
const MAX_CURSOR_CHARS = 200
/** As much of an unknown parameter's name is repeated. */
const MAX_NAME_CHARS = 60

/** Reads `?limit=&cursor=` of a list. @throws AppError for another name, a name twice, or a value out of range. */
export function readListQuery(req: Request): { cursor: string | undefined; limit: number } {
  const query = new URLSearchParams(req.url.split('?', 2)[1] ?? '')
  const faults: Fault[] = []
  for (const name of new Set(query.keys())) {
    if (name !== 'limit' && name !== 'cursor')
      faults.push({
        code: 'unknown_field',
        path: name.slice(0, MAX_NAME_CHARS),
        message: 'is not a parameter of this list; use limit and cursor',
      })
    else if (query.getAll(name).length > 1)
      faults.push({ code: 'invalid_field', path: name, message: 'is given more than once' })
  }
  const limit = query.get('limit') ?? String(DEFAULT_LIMIT)
  if (!/^\d{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > MAX_LIMIT)
    faults.push({ code: 'invalid_field', path: 'limit', message: `must be a whole number from 1 to ${MAX_LIMIT}` })
  const cursor = query.get('cursor') ?? undefined
  if (cursor !== undefined && cursor.length > MAX_CURSOR_CHARS)
    faults.push({ code: 'invalid_field', path: 'cursor', message: 'was not returned by this list' })
  if (faults.length > 0) throwFaults(faults)
  return { cursor, limit: Number(limit) }
}
