import type { AttachClaims, Exit, StatusMessage, TerminalSize } from '@cliscale/contract'

export interface SessionTerminalOptions {
  /** Folder of the journal; what an earlier life of this host wrote there is read back first. */
  readonly spoolDir: string
  /** Output bytes that the journal keeps; output beyond it still reaches viewers that keep up. */
  readonly spoolMaxBytes: number
  readonly listen: { readonly host: string; readonly port: number }
  /** Checks the assertion of an upgrade; rejects when it does not open this session. */
  readonly verify: (assertion: string) => Promise<AttachClaims>
  /** What read-write viewers type, and the answers to terminal queries. */
  readonly onInput: (bytes: Uint8Array) => void
  /** The size that rules now changed. */
  readonly onResize: (size: TerminalSize) => void
  readonly now?: () => number
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
  /** Epoch of the offsets, kept with the journal. Must be set once, after the claim, before viewers get a HELLO. */
  setEpoch(epoch: string): void
  /**
   * Appends work's output that starts at work's own `offset`. Bytes that are there already are dropped.
   * @throws TypeError on a gap.
   */
  appendWork(offset: number, bytes: Uint8Array): void
  /** Appends bytes of the host itself, such as the line of a stage. */
  appendHost(text: string): void
  /** Resolves when the screen has caught up enough to take more (it may lag by 1 MiB). Await between appends. */
  ready(): Promise<void>
  setStatus(status: StatusMessage): void
  /** Journals how it ended; viewers get EXIT after the last byte, then Close 1000. Later viewers get the same. */
  end(exit: Exit): void
  /** Output from an offset, at most `maxBytes`, all of one size; undefined at the head, or when it is not kept. */
  readOutput(from: number, maxBytes: number): Promise<OutputChunk | undefined>
  /** Puts one viewer out (Close 4401). */
  revoke(viewer: string): void
  /** Resolves when every connected viewer has got everything, or after `limitMs`. */
  drained(limitMs: number): Promise<void>
  /** Closes viewers with 1012 and stops listening. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface OutputChunk {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly size: TerminalSize
}
