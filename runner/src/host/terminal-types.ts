import type { AttachClaims, Exit, Mode, OutputTimes, StatusMessage, TerminalSize } from '@cliscale/contract'
import type { TerminalLimits } from './terminal/limits.ts'
import type { Typing } from './typing.ts'

export interface SessionTerminalOptions {
  /** Folder of the journal; what an earlier life of this host wrote there is read back first. */
  readonly spoolDir: string
  /** What the journal may take on disk (its records); output beyond it still reaches viewers that keep up. */
  readonly spoolMaxBytes: number
  readonly listen: { readonly host: string; readonly port: number }
  /** Checks the assertion of an upgrade; rejects when it does not open this session. */
  readonly verify: (assertion: string) => Promise<AttachClaims>
  /** Takes what read-write viewers type. */
  readonly typing: Typing
  /** The answers to the program's queries of its terminal. */
  readonly onAnswer: (bytes: Uint8Array) => void
  /** The size that rules now changed. */
  readonly onResize: (size: TerminalSize) => void
  /** Told of a fault of the disk or the screen, once for each kind. The session goes on with what can be kept. */
  readonly onFault?: (error: Error) => void
  /** Told when a connection of a viewer has ended, for the log. */
  readonly onViewerLeft?: (event: ViewerEvent) => void
  readonly now?: () => number
  readonly limits?: Partial<TerminalLimits>
}

/** One connection of a viewer, from 101 to its end. */
export interface ViewerEvent {
  readonly viewer: string
  readonly mode: Mode
  readonly protocol: string
  readonly sentBytes: number
  readonly durationMs: number
  readonly closeCode: number
}

/**
 * The session's terminal: journal, screen and viewers behind one listening socket. Everything that is appended is in
 * the journal (in the page cache, so it survives a kill of this process) when the call returns.
 */
export interface SessionTerminal extends AsyncDisposable {
  readonly port: number
  /** Output bytes so far. */
  readonly head: number
  /** Bytes of work's own output so far: what may be acknowledged to work. */
  readonly workOffset: number
  readonly size: TerminalSize
  /** How the session ended, also when an earlier life of the host wrote it. */
  readonly ended: Exit | undefined
  /**
   * Epoch of the offsets, kept with the journal. Set it once, after the claim; viewers get no HELLO before.
   * @throws TypeError when the journal belongs to another epoch.
   */
  setEpoch(epoch: string): void
  /** The size that a session begins with; passed over once there is output, or a viewer with a size of its own. */
  startAt(size: TerminalSize): void
  /**
   * Appends work's output that starts at work's own `offset`. Bytes that are there already are dropped.
   * @throws TypeError on a gap, and after `end`.
   */
  appendWork(offset: number, bytes: Uint8Array): void
  /** Appends bytes of the host itself, such as the line of a stage. @throws TypeError after `end`. */
  appendHost(text: string): void
  /**
   * Resolves when the screen has caught up enough (it may lag by 1 MiB), and never later than it takes to draw as much
   * plain text. Await between appends.
   */
  ready(): Promise<void>
  setStatus(status: StatusMessage): void
  /**
   * Journals how it ended; viewers get EXIT after the last byte, then Close 1000. Later viewers get the same. The
   * first call counts.
   */
  end(exit: Exit): void
  /**
   * Output from an offset, at most `maxBytes` and MAX_OUTPUT_TIMES times, all of one size; undefined at the head, or when
   * it is not kept.
   */
  readOutput(from: number, maxBytes: number): Promise<TimedChunk | undefined>
  /** Puts one viewer out (Close 4401) and keeps it out for the life of this process. */
  revoke(viewer: string): void
  /** Resolves when every connected viewer has got everything (after `end`: has closed), or after `limitMs`. */
  drained(limitMs: number): Promise<void>
  /** Closes viewers with 1012, stops listening and closes the journal; what is appended later changes nothing. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface OutputChunk {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly size: TerminalSize
}

/** Output with the times at which this host got it. */
export interface TimedChunk extends OutputChunk {
  readonly times: OutputTimes
}
