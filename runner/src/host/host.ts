import type { ClaimResponse, ControlMessage } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import type { JSONWebKeySet } from 'jose'
import { createAssertionVerifier } from './assertions.ts'
import { Backoff } from './backoff.ts'
import { claimSession } from './claim.ts'
import type { HostConfig } from './config.ts'
import { followControl } from './control.ts'
import { ControllerClient } from './controller-client.ts'
import { Credential } from './credential.ts'
import { HostState, writeFileAtomically } from './host-state.ts'
import { Reporter } from './reporter.ts'
import { type FetchCode, Session } from './session.ts'
import { StopRequest } from './stop-request.ts'
import type { SessionTerminal, SessionTerminalOptions } from './terminal-types.ts'
import { Timeline } from './timeline.ts'
import { WorkLink } from './work-link.ts'

/** How long viewers that are still reading are waited for after the end. */
const DRAIN_LIMIT_MS = 60_000

export interface HostDeps {
  readonly config: HostConfig
  readonly openTerminal: (options: SessionTerminalOptions) => Promise<SessionTerminal>
  readonly fetchCode: FetchCode
  readonly logger: Logger
  /** Ends the host where it stands; its next life goes on. */
  readonly signal: AbortSignal
}

/**
 * One life of a session's host: opens the terminal, claims, runs the session to its end, reports it, and serves its
 * viewers until they have everything. Resolves when nothing is left to do; rejects when `signal` aborts. Either way
 * viewers are closed (1012 when the session goes on) and nothing stays open.
 */
export async function runHost(deps: HostDeps): Promise<void> {
  const { config, signal } = deps
  const state = new HostState(config.spoolDir)
  await using client = new ControllerClient(config.controllerUrl)
  let session: Session | undefined
  let verify: SessionTerminalOptions['verify'] = () => Promise.reject(new Error('the session is not claimed yet'))
  await using terminal = await deps.openTerminal({
    spoolDir: config.spoolDir,
    spoolMaxBytes: config.spoolMaxBytes,
    listen: config.listen,
    verify: (assertion) => verify(assertion),
    onInput: (bytes) => session?.input(bytes),
    onResize: (size) => session?.resize(size),
  })
  writeFileAtomically(config.endpointFile, JSON.stringify({ port: terminal.port }))

  const claimAgain = (): Promise<ClaimResponse | undefined> =>
    claimSession({
      client,
      identityTokenFile: config.identityTokenFile,
      nonce: state.nonce,
      logger: deps.logger,
      signal,
    })
  const claim = await claimAgain()
  if (claim === undefined) return leave(config, state, terminal)
  const logger = deps.logger.child({ sessionId: claim.sessionId })
  logger.info({ started: claim.started }, 'claimed')
  terminal.setEpoch(claim.podUid)
  verify = createAssertionVerifier({ sessionId: claim.sessionId, fetchKeys: () => fetchKeys(client) })

  const life = new AbortController()
  const ending = AbortSignal.any([signal, life.signal])
  const credential = new Credential(claim.reportCredential, claimAgain)
  const stop = new StopRequest()
  const shared = { client, sessionId: claim.sessionId, credential: () => credential.current, logger, signal: ending }
  const reporter = new Reporter({
    ...shared,
    renewCredential: () => credential.renew(),
    terminal,
    events: state.events,
  })
  const timeline = new Timeline(state, terminal, () => reporter.wake())
  const control = followControl({
    ...shared,
    onUnauthorized: async () => void (await credential.renew()),
    onMessage: (message) => onControl(message, stop, terminal),
  })
  session = new Session({
    claim,
    terminal,
    timeline,
    state,
    stop,
    workSocket: config.workSocket,
    workspaceDir: config.workspaceDir,
    fetchCode: deps.fetchCode,
    confirmStarted: (until) => confirmStarted(client, credential, until, logger),
    onOutput: () => reporter.wake(),
    logger,
    signal: ending,
  })
  try {
    await runToEnd(session, timeline, reporter, terminal, ending)
  } finally {
    life.abort()
    session.close()
    await control
  }
}

/** Nothing may be run: work, when it is ours, is told so. */
async function leave(config: HostConfig, state: HostState, terminal: SessionTerminal): Promise<void> {
  const ours = { socketPath: config.workSocket, secret: state.workSecret, from: terminal.workOffset }
  const link = await WorkLink.connect(ours).catch(() => undefined)
  link?.send({ type: 'quit' })
  await link?.end()
}

async function runToEnd(
  session: Session,
  timeline: Timeline,
  reporter: Reporter,
  terminal: SessionTerminal,
  signal: AbortSignal,
): Promise<void> {
  if (timeline.ended === undefined) timeline.starting()
  const ended = timeline.ended ?? (await session.run())
  timeline.end(ended)
  await session.dismissWork()
  await Promise.race([
    Promise.all([terminal.drained(DRAIN_LIMIT_MS), reporter.finished]),
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
  ])
}

function onControl(message: ControlMessage, stop: StopRequest, terminal: SessionTerminal): void {
  if (message.type === 'stop') stop.request('user')
  else if (message.type === 'revoke') terminal.revoke(message.viewer)
}

/** Until it is confirmed or refused for good (404, 409, 410: the session was ended meanwhile). */
async function confirmStarted(
  client: ControllerClient,
  credential: Credential,
  signal: AbortSignal,
  logger: Logger,
): Promise<boolean> {
  const backoff = new Backoff(100, 5000)
  for (;;) {
    try {
      const { status } = await client.call({
        method: 'POST',
        path: '/internal/started',
        credential: credential.current,
        signal,
      })
      if (status >= 200 && status < 300) return true
      logger.warn({ status }, 'started was not confirmed')
      if ([404, 409, 410].includes(status)) return false
      if (status === 401 && !(await credential.renew())) return false
    } catch (error) {
      signal.throwIfAborted()
      logger.info({ code: (error as NodeJS.ErrnoException).code ?? (error as Error).name }, 'started failed')
    }
    await backoff.wait(signal)
  }
}

async function fetchKeys(client: ControllerClient): Promise<JSONWebKeySet> {
  const answer = await client.call({ method: 'GET', path: '/internal/jwks.json' })
  if (answer.status !== 200) throw new Error(`the controller answered ${answer.status} for its keys`)
  return JSON.parse(answer.text) as JSONWebKeySet
}
