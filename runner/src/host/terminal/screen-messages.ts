import type { TerminalColours, TerminalSize } from '@cliscale/contract'

/** What the screen's thread is asked, one at a time. Each gets one answer. */
export type ScreenRequest =
  | {
      readonly type: 'start'
      readonly size: TerminalSize
      readonly offset: number
      readonly bytes: Uint8Array
      /** What the program was told last. */
      readonly colours: TerminalColours
    }
  | {
      readonly type: 'parse'
      readonly offset: number
      readonly size: TerminalSize
      readonly bytes: Uint8Array
      /** Whether queries in it are answered. */
      readonly answering: boolean
      /** Processor time after which the rest is given back, in milliseconds. */
      readonly budgetMs: number
    }
  /** Output up to `offset` is left out: what hangs in the parser must not swallow what follows. */
  | { readonly type: 'skip'; readonly offset: number }
  | { readonly type: 'resize'; readonly size: TerminalSize }
  /** The driver's page shows other colours; a program that wants to know is told. */
  | { readonly type: 'colours'; readonly colours: TerminalColours }
  | { readonly type: 'snapshot'; readonly maxBytes: number }

export interface ScreenAnswer {
  /** Processor time that it took, in milliseconds. */
  readonly cpuMs: number
  /** Offset up to which the output is parsed. */
  readonly offset: number
  /** Sequences that set the modes of now, for a terminal that starts again. */
  readonly modes: string
  /** Answers to terminal queries. */
  readonly answers: string
  /** To `snapshot`; undefined where even the screen without scrollback is too large. */
  readonly snapshot?: { readonly seq: number; readonly size: TerminalSize; readonly bytes: Uint8Array } | undefined
}

/** The first message of the thread: its number, for its clock. */
export interface ScreenReady {
  readonly thread: number | undefined
}
