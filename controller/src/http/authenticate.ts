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
  const what = credential === undefined ? '' : /^bearer /i.test(credential) ? NOT_A_KEY : NOT_BEARER
  return new AppError('unauthorized', {
    detail: `${what}Send the header "Authorization: Bearer <API key>".`,
    headers: { 'WWW-Authenticate': what === '' ? challenge : `${challenge}, error="invalid_token"` },
  })
}

const NOT_A_KEY = 'The credential is not an API key of this server. '
const NOT_BEARER = 'The header Authorization does not begin with "Bearer ". '
