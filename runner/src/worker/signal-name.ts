import { constants } from 'node:os'

/** The first real-time signal that glibc leaves to programs, and the last. */
const RT_MIN = 34
const RT_MAX = 64

const NAMES = new Map(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number as number, name]),
)

/** The name of a signal as `kill -l` tells it, with SIG in front: `SIGTERM`, `SIGRTMIN+2`, `SIGRTMAX`. */
export function signalName(number: number): string {
  const named = NAMES.get(number)
  if (named !== undefined) return named
  if (number < RT_MIN || number > RT_MAX) return `SIG${number}`
  if (number <= RT_MIN + (RT_MAX - RT_MIN) / 2) return number === RT_MIN ? 'SIGRTMIN' : `SIGRTMIN+${number - RT_MIN}`
  return number === RT_MAX ? 'SIGRTMAX' : `SIGRTMAX-${RT_MAX - number}`
}
