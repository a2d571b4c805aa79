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
    if (owner === undefined) throw unauthorized(req.headers.authorization !== undefined)
    contextOf(res).owner = owner
    next()
  }
}

function unauthorized(hasCredential: boolean): AppError {
  const challenge = 'Bearer realm="cliscale"'
  return new AppError('unauthorized', {
    detail: hasCredential
      ? 'The credential is not an API key of this server. Send the header "Authorization: Bearer <API key>".'
      : 'Send the header "Authorization: Bearer <API key>".',
    headers: { 'WWW-Authenticate': hasCredential ? `${challenge}, error="invalid_token"` : challenge },
  })
}
