import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { AttachClaims, Exit, Mode, TerminalSize } from '@cliscale/contract'
import type { TypedPiece } from '../src/relay/frames.ts'
import type { SessionTerminal, SessionTerminalOptions, ViewerEvent } from '../src/host/terminal-types.ts'
import { Typing } from '../src/host/typing.ts'
import { openSessionTerminal } from '../src/host/terminal/session-terminal.ts'

export const EXIT_OK: Exit = {
  status: 'succeeded',
  reason: null,
  detail: null,
  hint: null,
  exitCode: 0,
  signal: null,
  durationMs: 1234,
}
export const EPOCH = 'epoch-1'
export const V1 = ['cliscale.v1'] as const

/** Assertions of these tests are `<mode>-<viewer>`; anything else is refused. */
export async function verifyForTest(assertion: string): Promise<AttachClaims> {
  const match = /^(rw|ro)-(.+)$/.exec(assertion)
  if (!match) throw new Error('not an assertion')
  return { sid: 'session', mode: match[1] as Mode, viewer: match[2] as string }
}

export interface Fixture extends AsyncDisposable {
  readonly dir: string
  terminal: SessionTerminal
  readonly input: Buffer[]
  readonly sizes: TerminalSize[]
  readonly left: ViewerEvent[]
  readonly faults: Error[]
  /** Text that viewers and the host's answers have sent to the program. */
  typed(): string
  /** Ends this run of the host and starts the next on the same spool. */
  restart(options?: Partial<SessionTerminalOptions>): Promise<void>
}

/** What viewers type reaches `onInput` at once, as if a program read it. */
export function typingInto(onInput: (bytes: Buffer) => void): Typing {
  const typing = new Typing({ isFirstLife: true })
  const typed = ({ stream, at, bytes }: TypedPiece): void => {
    onInput(Buffer.from(bytes))
    const end = at + bytes.length
    typing.onProgress({ stream, received: end, taken: end, dropped: 0, isLineCut: false })
  }
  typing.connect({ typed }, [])
  return typing
}

export async function openFixture(
  options: Partial<SessionTerminalOptions> & { epoch?: string | null; onInput?: (bytes: Buffer) => void } = {},
): Promise<Fixture> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-terminal-'))
  const input: Buffer[] = []
  const sizes: TerminalSize[] = []
  const left: ViewerEvent[] = []
  const faults: Error[] = []
  const onInput = options.onInput ?? ((bytes) => void input.push(bytes))
  const open = (more: Partial<SessionTerminalOptions>): Promise<SessionTerminal> =>
    openSessionTerminal({
      spoolDir: dir,
      spoolMaxBytes: 1024 ** 3,
      listen: { host: '127.0.0.1', port: 0 },
      verify: verifyForTest,
      typing: typingInto(onInput),
      onAnswer: (bytes) => onInput(Buffer.from(bytes)),
      onResize: (size) => sizes.push(size),
      onViewerLeft: (event) => left.push(event),
      onFault: (error) => faults.push(error),
      ...options,
      ...more,
      // On a busy machine, too, a test that wants a snapshot gets it.
      limits: { snapshotMs: 15_000, ...options.limits, ...more.limits },
    })
  const fixture: Fixture = {
    dir,
    terminal: await open({}),
    input,
    sizes,
    left,
    faults,
    typed: () => Buffer.concat(input).toString(),
    restart: async (more = {}) => {
      await fixture.terminal[Symbol.asyncDispose]()
      fixture.terminal = await open(more)
    },
    [Symbol.asyncDispose]: async () => {
      await fixture.terminal[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
  if (options.epoch !== null) fixture.terminal.setEpoch(options.epoch ?? EPOCH)
  return fixture
}

/** Waits until `holds`, at most `limitMs`. */
export async function eventually(holds: () => boolean, what: string, limitMs = 5_000): Promise<void> {
  const end = Date.now() + limitMs
  while (!holds()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
