import type { Typing } from '@cliscale/client'

/** The page shows the progress of a paste that is larger than this, in bytes. */
const LARGE_BYTES = 64 * 1024
/** The page says that the program does not read its input after this long, in milliseconds. */
const PATIENCE_MS = 1_000

/** What the page says about input that is waiting; undefined when there is nothing to say. */
export function typingWords({ total, taken }: Typing, isConnected: boolean, waitsForMs: number): string | undefined {
  const waiting = total - taken
  if (waiting === 0) return undefined
  const isLarge = total > LARGE_BYTES
  const what = isLarge
    ? `pasting ${Math.floor((100 * taken) / total)} %`
    : `${waiting} typed byte${waiting === 1 ? '' : 's'}`
  if (!isConnected) return `${what}, waiting for the connection`
  if (waitsForMs > PATIENCE_MS) return `${what}, waiting for the program to read`
  return isLarge ? what : undefined
}
