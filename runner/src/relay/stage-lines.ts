/** The dim lines that tell in the terminal what happened before the command (never within a bare command's output). */

const NAMES = {
  fetching_code: 'code fetched',
  verifying: 'archive checked',
  installing: 'installed',
} as const
export type LineStage = keyof typeof NAMES

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
