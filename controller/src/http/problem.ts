import { AppError, isAppError, toProblem } from '@cliscale/contract'
import { type Logger, toFault } from '@cliscale/service-kit'
import type { ErrorRequestHandler, RequestHandler } from 'express'
import { contextOf } from './context.ts'

/** Last handler of the app: every error leaves as a problem document. Only a fault of ours is logged with its stack. */
export function problemHandler(logger: Logger): ErrorRequestHandler {
  return (error, _req, res, _next) => {
    const context = contextOf(res)
    const fault = toAppError(error)
    const problem = toProblem(fault, context.requestId)
    context.code = problem.code
    if (!isAppError(fault)) logger.error({ err: fault, requestId: context.requestId }, 'request failed')
    else if (problem.status >= 500)
      logger.warn({ code: problem.code, cause: causeOf(fault), requestId: context.requestId }, 'request refused')
    // In the middle of an answer only its end can still say that it is not whole.
    if (res.headersSent) return void res.destroy()
    if (isAppError(fault) && fault.headers) res.set(fault.headers)
    res
      .status(problem.status)
      .set('Content-Type', 'application/problem+json')
      .send(Buffer.from(JSON.stringify(problem)))
  }
}

/** A path that leads nowhere. */
export const nothingHere: RequestHandler = () => {
  throw new AppError('not_found', { detail: 'There is nothing at this path. /openapi.json lists all paths.' })
}

/** For every method but those that the route has. */
export function onlyMethods(allow: string): RequestHandler {
  return (req) => {
    throw new AppError('method_not_allowed', {
      detail: `${req.method.slice(0, 16)} is not allowed here; use ${allow}.`,
      headers: { Allow: allow },
    })
  }
}

function toAppError(error: unknown): unknown {
  const fault = toFault(error)
  if (isAppError(fault)) return fault
  // Express throws errors with a status for a path whose percent signs encode nothing.
  const { status } = (error ?? {}) as { status?: unknown }
  if (status === 400)
    return new AppError('bad_request', { detail: 'The path has a percent sign that does not encode anything.' })
  return error
}

function causeOf(error: AppError): string | undefined {
  const { cause } = error
  return cause instanceof Error ? ((cause as { code?: string }).code ?? cause.message) : undefined
}
