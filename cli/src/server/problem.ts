import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { AppError } from '@cliscale/contract'
import { answerProblem } from '@cliscale/service-kit'

/** Answers an upgrade, whose socket Node has handed out, with a problem document. */
export function answerUpgradeProblem(req: IncomingMessage, socket: Duplex, fault: AppError): void {
  const res = new ServerResponse(req)
  res.assignSocket(socket as Parameters<typeof res.assignSocket>[0])
  res.once('finish', () => socket.end())
  answerProblem(req, res, fault)
}
