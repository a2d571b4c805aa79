import type { Logger } from '@cliscale/service-kit'
import type { ProcessTable } from './process-table.ts'

export interface LocalLauncherOptions {
  /** Session folders are kept in `<dataDir>/sessions`, and what we know of them in `<dataDir>/launches`. */
  readonly dataDir: string
  /** A short folder for sockets, for the owner only; made when absent. */
  readonly runDir: string
  /** Entry files of the two programs. */
  readonly hostProgram: string
  readonly workProgram: string
  /** How a host reaches the internal API: `http://…` or `unix:/path`. */
  readonly controllerUrl: string
  readonly spoolMaxBytes?: number
  /** Memory that one session's work may use; no limit when absent or where the system can't keep one. */
  readonly memoryMaxBytes?: number
  /** What a session's processes get of our environment: PATH, LANG when it is set, and where version managers have what PATH leads to. */
  readonly environment: Readonly<Record<string, string>> & { readonly PATH: string }
  readonly logger: Logger
  readonly pollMs?: number
  /** How long everything of a session has between SIGTERM and SIGKILL, in milliseconds. */
  readonly termGraceMs?: number
  /** How often hosts are asked whether they hang, and how long one may, in milliseconds. */
  readonly probe?: { readonly everyMs: number; readonly limitMs: number }
  /** Waits before files that could not be removed are tried again, in milliseconds; after the last they are left. */
  readonly removeRetriesMs?: readonly number[]
  readonly processes?: ProcessTable
}
