import { writeFileSync } from 'node:fs'
import type { FinalReport } from '@cliscale/contract'

/** What Kubernetes keeps of a termination message. */
const MAX_BYTES = 4096

/** How a session ended, as the few bytes that a container may leave behind: JSON of at most 4096 bytes. */
export function terminationMessage({ status, reason, detail, exitCode, signal }: FinalReport): string {
  const text = (kept: string | null): string => {
    return JSON.stringify({ status, reason, detail: kept, exitCode, signal } satisfies FinalReport)
  }
  let kept = detail
  while (Buffer.byteLength(text(kept)) > MAX_BYTES && kept !== null) kept = kept.slice(0, kept.length / 2)
  return text(kept)
}

/** Leaves it; the file is a mount and cannot be replaced. What cannot be written was only the second way to tell it. */
export function leaveTerminationMessage(file: string | undefined, ended: FinalReport): void {
  if (file === undefined) return
  try {
    writeFileSync(file, terminationMessage(ended))
  } catch {
    // no such file, or not ours
  }
}
