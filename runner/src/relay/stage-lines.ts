/** The dim lines that tell in the terminal what happened before the command (never within a bare command's output). */
import { REPORTS_OFF } from '@cliscale/contract/terminal'

const NAMES = {
  fetching_code: 'code fetched',
  verifying: 'archive checked',
  installing: 'installed',
} as const
export type LineStage = keyof typeof NAMES

/**
 * Brings back a terminal that a program left in its own state, for what is written next: out of a sequence that has no
 * end, to the normal screen, the default colours and flags, a visible cursor, the whole scroll region, and no reports of
 * mouse, focus or pastes. On the normal screen, leaving the alternate one moves the cursor to where it was saved: ESC 7
 * saves it where it is.
 */
export const TERMINAL_RESET = `\x18\x1b7\x1b[?1049l\x1b[!p\x1b[0 q\x1b[?7h${REPORTS_OFF}`

/** Whether a program's output may change more than the text of the terminal. C2 begins the controls that are not ASCII. */
export function mayLeaveState(output: Buffer): boolean {
  return [0x0e, 0x1b, 0xc2].some((byte) => output.includes(byte))
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`
}

/** Without control characters: what stands in a line may come from a server or an archive. */
export function plain(text: string): string {
  return text.replace(/\p{C}/gu, ' ')
}

/** The line of a stage that is done. */
export function doneLine(stage: LineStage, ms: number): string {
  return `\x1b[2m── ${NAMES[stage]} in ${seconds(ms)}\x1b[0m\r\n`
}

/** A dim remark. */
export function noteLine(text: string): string {
  return `\x1b[2m── ${plain(text)}\x1b[0m\r\n`
}

/** The line of a stage that failed. */
export function failedLine(text: string): string {
  return `\x1b[31m── ${plain(text)}\x1b[0m\r\n`
}
