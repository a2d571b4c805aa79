/** The longest wait between two attempts, in milliseconds. */
export const MAX_DELAY_MS = 30_000

/**
 * How long to wait before attempt number `attempt` (0 is the first after a drop), in milliseconds. The first comes
 * after 0.25 to 1 s, later ones double up to 30 s; `random` (0 to 1) spreads many viewers of one restarted gateway.
 */
export function reconnectDelayMs(attempt: number, random = Math.random()): number {
  if (attempt <= 0) return 250 + random * 750
  const ceiling = Math.min(MAX_DELAY_MS, 1000 * 2 ** Math.min(attempt, 10))
  return ceiling * (0.5 + random * 0.5)
}
