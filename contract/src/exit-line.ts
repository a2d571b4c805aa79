import { factsOf } from './session.ts'
import type { Exit } from './terminal.ts'

/** C0 and C1: a detail may quote what somebody else sent. */
// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/g

/**
 * The last line of a `tty` viewer, which has no EXIT message, from the session host or, once that is gone, from the
 * gateway. It lies outside the offsets.
 */
export function exitLine(exit: Exit): string {
  const how = exit.signal
    ? `ended by ${exit.signal}`
    : exit.exitCode === null
      ? `ended as ${exit.status}`
      : `exit code ${exit.exitCode}`
  const told = exit.reason === null || exit.reason === 'exit_nonzero' || exit.reason === 'killed_by_signal'
  const why = told ? '' : `: ${exit.detail ?? exit.hint ?? factsOf(exit.reason).hint}`.replace(CONTROLS, ' ')
  const colour = exit.status === 'succeeded' ? 32 : 31
  return `\r\n\x1b[0;${colour}m[cliscale] ${how}${why}\x1b[0m\r\n`
}
