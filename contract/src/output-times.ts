/**
 * When output was read from the terminal: from a byte of a report on (the first is 0), in milliseconds since 1970. Bytes
 * grow, times never fall, and the first entry is that of byte 0.
 */
export type OutputTimes = readonly (readonly [byte: number, timeMs: number])[]

/** Times of one report at most. They travel in a header, and a host ends its report early rather than leave some out. */
export const MAX_OUTPUT_TIMES = 256

/** The value of the header, such as `0:1767225600000,512:1767225600040`. */
export function encodeOutputTimes(times: OutputTimes): string {
  return times.map(([byte, timeMs]) => `${byte}:${timeMs}`).join(',')
}

/** What `encodeOutputTimes` made for a report of `length` bytes; undefined for everything else. */
export function decodeOutputTimes(text: string, length: number): OutputTimes | undefined {
  if (!/^0:\d{1,14}(,\d{1,6}:\d{1,14})*$/.test(text)) return undefined
  const times = text.split(',').map((entry) => entry.split(':').map(Number) as [number, number])
  const isOrdered = times.every(([byte, timeMs], i) => {
    const before = times[i - 1]
    return byte < length && (before === undefined || (byte > before[0] && timeMs >= before[1]))
  })
  return isOrdered && times.length <= MAX_OUTPUT_TIMES ? times : undefined
}
