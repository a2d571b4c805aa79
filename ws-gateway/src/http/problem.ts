/** Faults as problem documents (RFC 9457), for Express and for a bare socket. */
import type { Socket } from 'node:net'
import { AppError, isAppError, type Problem, toProblem } from '@cliscale/contract'
import { answerSocket, type Logger, requestIdOf } from '@cliscale/service-kit'
import type { ErrorRequestHandler } from 'express'

/** Faults of Express and its body parser, by their `type` or status. */
function toAppError(error: unknown): unknown {
  if (isAppError(error)) return error
  const { type, status } = (error ?? {}) as { type?: string; status?: number }
  if (type === 'entity.too.large') return new AppError('body_too_large', { detail: 'The body may be at most 8 KiB.' })
  if (type === 'entity.parse.failed') return new AppError('json_invalid', { detail: 'The body must be JSON.' })
  if (type === 'encoding.unsupported' || type === 'charset.unsupported')
    return new AppError('unsupported_media_type', {
      detail: 'Send the body as application/json in UTF-8, not compressed.',
    })
  if (status !== undefined && status >= 400 && status < 500)
    return new AppError('bad_request', { detail: 'The request cannot be read.' })
  return error
}

/** Last handler of the app. Only a fault of ours is logged with its stack. */
export function problemHandler(logger: Logger): ErrorRequestHandler {
  return (error, req, res, _next) => {
    const fault = toAppError(error)
    const problem = toProblem(fault, res.locals['requestId'] ?? requestIdOf(req))
    logFault(logger, fault, problem)
    if (res.headersSent) return void res.destroy()
    if (isAppError(fault) && fault.headers) res.set(fault.headers)
    res
      .status(problem.status)
      .set('Cache-Control', 'no-store')
      .type('application/problem+json')
      .send(JSON.stringify(problem))
  }
}

function logFault(logger: Logger, fault: unknown, problem: Problem): void {
  if (problem.status < 500) return
  const err = isAppError(fault) ? (fault.cause ?? fault) : fault
  logger[isAppError(fault) ? 'warn' : 'error'](
    { err, code: problem.code, requestId: problem.instance },
    'request failed',
  )
}

/** Answers an upgrade with a problem document instead of a 101. Returns the code that was answered. */
export function refuseUpgrade(options: {
  socket: Socket
  error: unknown
  requestId: string
  logger: Logger
}): Problem['code'] {
  const problem = answerSocket(options.socket, options.error, options.requestId)
  logFault(options.logger, options.error, problem)
  return problem.code
}
