import type { Reason } from '@cliscale/contract'
import type { LaunchFault } from '../launcher.ts'

const MAX_SYSTEM_WORDS = 400

/** A fault or a wait, told as `clean` does. */
export function told(reason: Reason, sentence: string, systemSays?: string): LaunchFault {
  return { reason, detail: clean(sentence, systemSays) }
}

/**
 * One sentence of ours and what the system says, on one line and of a length that a person reads. Addresses lose what
 * could be a secret in them: user and password, and the query (signed addresses of image layers).
 */
export function clean(sentence: string, systemSays?: string): string {
  const words = (systemSays ?? '')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .replace(/(\w+:\/\/)[^\s/"@]*@/g, '$1')
    .replace(/(\w+:\/\/[^\s"?]*)\?[^\s"]*/g, '$1')
    // Where a connection came from is another port each time, and nobody's business.
    .replace(/[\d.]+:\d+->/g, '')
    .trim()
  if (words === '') return sentence
  return `${sentence} ${words.length > MAX_SYSTEM_WORDS ? `${words.slice(0, MAX_SYSTEM_WORDS - 1)}…` : words}`
}
