import type { Exit, StatusMessage } from '@cliscale/contract/terminal'
import type { Refusal } from './viewer-api.ts'

/** Why there is a pause before the next attempt. */
export type DropCause = 'network' | 'silence' | 'restart' | 'server'

/** Why the page does not connect any more by itself. The first four come from the viewer's check. */
export type Stop = Refusal | 'revoked' | 'gone' | 'protocol' | 'program_over'

/**
 * What the page knows about its connection.
 *
 * connecting → waiting ⇄ live → ended; any of the first three → reconnecting → connecting; any → stopped.
 * - connecting: being let in, or the socket is being opened; `again` after an attempt that failed or a drop
 * - waiting: the server is there and says what the session still waits for
 * - live: attached to the session, which runs
 * - reconnecting: the next attempt is at `at` (ms since 1970)
 * - ended: EXIT came; final
 * - stopped: only a person can go on (a new link, or the button)
 */
export type ConnectionState =
  | { readonly kind: 'connecting'; readonly again?: boolean }
  | { readonly kind: 'waiting'; readonly status: StatusMessage }
  | { readonly kind: 'live'; readonly status: StatusMessage | undefined }
  | { readonly kind: 'reconnecting'; readonly at: number; readonly cause: DropCause }
  | { readonly kind: 'ended'; readonly exit: Exit }
  | { readonly kind: 'stopped'; readonly why: Stop }

/** Whether the button "connect again" can help. */
export function canResume(why: Stop): boolean {
  return why === 'protocol' || why === 'program_over'
}
