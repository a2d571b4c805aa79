import { AppError } from '@cliscale/contract'
import { bearerOf } from '@cliscale/service-kit'
import type { RequestHandler } from 'express'
import { type ApiKey, findOwner } from '../identity/api-keys.ts'
import { contextOf } from './context.ts'

/** Lets a request through whose `Authorization: Bearer` is an API key (RFC 6750), and notes whose it is. */
export function authenticate(keys: readonly ApiKey[]): RequestHandler {
  return (req, res, next) => {
    const presented = bearerOf(req)
    const owner = presented === undefined ? undefined : findOwner(keys, presented)
    if (owner === undefined) throw unauthorized(req.headers.authorization)
    contextOf(res).owner = owner
    next()
  }
}

function unauthorized(credential: string | undefined): AppError {
  const challenge = 'Bearer realm="cliscale"'
  const what = credential === undefined ? '' : refusalOf(credential)
  return new AppError('unauthorized', {
    detail: `${what}Send the header "Authorization: Bearer <API key>".`,
    headers: { 'WWW-Authenticate': what === '' ? challenge : `${challenge}, error="invalid_token"` },
  })
}

/** What is wrong with a credential. Node takes the blanks off the end of a header. */
function refusalOf(credential: string): string {
  if (/^bearer *$/i.test(credential)) return 'The key after "Bearer " is empty. '
  if (/^bearer /i.test(credential)) return 'This server does not know this API key. '
  return 'The header Authorization does not begin with "Bearer ". '
}
