import {
  type ClaimResponse,
  type ControlMessage,
  DEFAULT_SIZE,
  END_LIMITS,
  type TerminalSize,
} from '@cliscale/contract'
import { type Logger, unlessAborted } from '@cliscale/service-kit'
import type { JSONWebKeySet } from 'jose'
import { createAssertionVerifier } from './assertions.ts'
import type { FetchCode } from './bring-code.ts'
import { claimSession, confirmStarted } from './claim.ts'
import type { HostConfig } from './config.ts'
import { followControl } from './control.ts'
import { Ending } from './ending.ts'
import { ControllerClient } from './controller-client.ts'
import { Credential } from './credential.ts'
import { HostState, writeFileAtomically } from './host-state.ts'
import { leaveTerminationMessage } from './termination-message.ts'
import { Reporter } from './reporter.ts'
import { Session } from './session.ts'
import { StopRequest } from './stop-request.ts'
import type { SessionTerminal, SessionTerminalOptions } from './terminal-types.ts'
import { Timeline } from './timeline.ts'
import { Typing } from './typing.ts'
import { dismiss } from './work-link.ts'

export interface HostDeps {
  readonly config: HostConfig
  readonly openTerminal: (options: SessionTerminalOptions) => Promise<SessionTerminal>
  readonly fetchCode: FetchCode
  readonly logger: Logger
  /** The system asks the host to end. */
  readonly signal: AbortSignal
}

/**
 * One life of a session's host: opens the terminal, claims, runs the session to its end, reports it, and serves its
 * viewers until they have everything. Resolves when nothing is left to do.
 *
 * Asked to end by `signal`, it rejects at once where work lives and its next life is to go on; else it brings what it
 * can to its end first, within the grace (see Ending). Either way viewers are closed (1012 when the session goes on) and
 * nothing stays open.
 */
export async function runHost(deps: HostDeps): Promise<void> {
  const { config, logger } = deps
  const ending = new Ending({ asked: deps.signal, graceMs: config.endGraceMs, workSocket: config.workSocket, logger })
  const { signal } = ending
  const state = new HostState(config.spoolDir)
  await using client = new ControllerClient(config.controllerUrl)
  const viewers: { session?: Session } = {}
  const typing = new Typing({ isFirstLife: !state.workSeen })
  // A viewer that comes back to a host that was just started waits for the claim, within the terminal's limit.
  let claimed: (verify: SessionTerminalOptions['verify']) => void = () => {}
  const verifier = new Promise<SessionTerminalOptions['verify']>((resolve) => (claimed = resolve))
  await using terminal = await deps.openTerminal({
    spoolDir: config.spoolDir,
    spoolMaxBytes: config.spoolMaxBytes,
    listen: config.listen,
    verify: async (assertion) => (await verifier)(assertion),
    typing,
    onAnswer: (bytes) => viewers.session?.answer(bytes),
    onResize: (size) => viewers.session?.resize(size),
    onFault: (err) => logger.error({ err }, 'the terminal has a fault'),
    onViewerLeft: (event) => logger.info(event, 'a viewer left'),
  })
  writeFileAtomically(config.endpointFile, JSON.stringify({ port: terminal.port }))

  const { identityTokenFile } = config
  const askForClaim = (waitsForOther: () => boolean): Promise<ClaimResponse | undefined> =>
    claimSession({ client, identityTokenFile, nonce: state.nonce, logger, signal, waitsForOther })
  const claim = await askForClaim(() => !ending.asked)
  if (claim === undefined) return leave(config, state, terminal, signal)
  terminal.startAt({ ...DEFAULT_SIZE, ...sizeOf(claim) })
  terminal.setEpoch(claim.podUid)
  claimed(createAssertionVerifier({ sessionId: claim.sessionId, fetchKeys: () => fetchKeys(client) }))
  const credential = new Credential(claim.reportCredential, () => askForClaim(() => false))
  await runClaimed(deps, { claim, credential, client, state, terminal, typing, viewers, ending })
}

interface Claimed {
  readonly claim: ClaimResponse
  readonly credential: Credential
  readonly client: ControllerClient
  readonly state: HostState
  readonly terminal: SessionTerminal
  readonly typing: Typing
  /** Whom answers and sizes go to. */
  readonly viewers: { session?: Session }
  readonly ending: Ending
}

async function runClaimed(deps: HostDeps, claimed: Claimed): Promise<void> {
  const { claim, credential, client, state, terminal, typing, viewers, ending } = claimed
  const { sessionId } = claim
  const logger = deps.logger.child({ sessionId })
  logger.info({ started: claim.started }, 'claimed')
  const life = new AbortController()
  const signal = AbortSignal.any([ending.signal, life.signal])
  const stop = new StopRequest()
  const shared = { client, sessionId, credential: () => credential.current, logger, signal }
  const renewCredential = (): Promise<boolean> => credential.renew()
  const reporter = new Reporter({ ...shared, renewCredential, terminal, events: state.events })
  const timeline = new Timeline(state, terminal, () => reporter.wake(), claim.order?.command)
  stop.onRequest(() => timeline.stopping())
  const control = followControl({
    ...shared,
    renewCredential,
    onMessage: (message) => onControl(message, stop, terminal),
  })
  const session = new Session({
    claim,
    terminal,
    timeline,
    typing,
    state,
    stop,
    workSocket: deps.config.workSocket,
    workspaceDir: deps.config.workspaceDir,
    installLimitMs: deps.config.installLimitSeconds * 1000,
    fetchCode: deps.fetchCode,
    confirmStarted: (until) => confirmStarted({ client, credential, logger, signal: until }),
    onOutput: () => reporter.wake(),
    logger,
    signal,
  })
  viewers.session = session
  ending.watch({ isOver: () => timeline.ended !== undefined, workIsGone: () => stop.request('work_gone') })
  try {
    const terminationMessageFile = deps.config.terminationMessageFile
    await runToEnd({ session, timeline, reporter, terminal, signal, terminationMessageFile })
  } finally {
    life.abort()
    session.close()
    await control
  }
}

/** Nothing may be run: work, when it is ours, is told so. */
async function leave(
  config: HostConfig,
  state: HostState,
  terminal: SessionTerminal,
  signal: AbortSignal,
): Promise<void> {
  const { workSecret: secret, workSeen: seen } = state
  // An earlier life may have told the end; this one is what the system looks at then.
  const ended = state.events.find((event) => event.type === 'ended')
  if (ended !== undefined) leaveTerminationMessage(config.terminationMessageFile, ended)
  await dismiss({ socketPath: config.workSocket, secret, seen, from: terminal.workOffset, signal })
}

async function runToEnd(life: {
  readonly session: Session
  readonly timeline: Timeline
  readonly reporter: Reporter
  readonly terminal: SessionTerminal
  readonly signal: AbortSignal
  readonly terminationMessageFile: string | undefined
}): Promise<void> {
  const { session, timeline, reporter, terminal, signal } = life
  if (timeline.ended === undefined) timeline.starting()
  const ended = timeline.ended ?? (await session.run())
  timeline.end(ended)
  leaveTerminationMessage(life.terminationMessageFile, timeline.ended!)
  // What is not understood, or does not answer, must not run on.
  if (ended.status === 'lost') await session.dismissWork()
  await unlessAborted(Promise.all([terminal.drained(END_LIMITS.drainSeconds * 1000), reporter.finished]), signal)
  // Last, because a pod ends with it: what was not told by then would have to be told within its grace.
  await session.dismissWork()
}

/** What the order says of the terminal's size. */
function sizeOf({ order }: ClaimResponse): Partial<TerminalSize> {
  const { columns, rows } = order ?? {}
  return { ...(columns !== undefined && { columns }), ...(rows !== undefined && { rows }) }
}

function onControl(message: ControlMessage, stop: StopRequest, terminal: SessionTerminal): void {
  if (message.type === 'stop') stop.request(message.reason === 'server_stopped' ? 'server' : 'user')
  else if (message.type === 'revoke') terminal.revoke(message.viewer)
}

async function fetchKeys(client: ControllerClient): Promise<JSONWebKeySet> {
  const answer = await client.call({ method: 'GET', path: '/internal/jwks.json' })
  if (answer.status !== 200) throw new Error(`the controller answered ${answer.status} for its keys`)
  return JSON.parse(answer.text) as JSONWebKeySet
}
