import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type AppError, toProblem } from '@cliscale/contract'
import { requestIdOf } from '@cliscale/service-kit'

/** Answers a request with a problem document and ends its connection. */
export function answerProblem(req: IncomingMessage, res: ServerResponse, fault: AppError): void {
  const requestId = requestIdOf(req)
  const problem = toProblem(fault, requestId)
  req.resume()
  res
    .writeHead(problem.status, {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'X-Request-Id': requestId,
      Connection: 'close',
    })
    .end(JSON.stringify(problem))
}

/** The same for an upgrade, whose socket Node has handed out. */
export function answerUpgradeProblem(req: IncomingMessage, socket: Duplex, fault: AppError): void {
  const res = new ServerResponse(req)
  res.assignSocket(socket as Parameters<typeof res.assignSocket>[0])
  res.once('finish', () => socket.end())
  answerProblem(req, res, fault)
}
