import { START_LIMITS } from '@cliscale/contract'

/** What fetching code may cost. Sizes in bytes, times in milliseconds. */
export interface FetchLimits {
  /** Bytes over the network, for an archive and for all of a git clone. */
  readonly downloadBytes: number
  /** Sum of all files once unpacked. */
  readonly unpackedBytes: number
  readonly entries: number
  readonly pathBytes: number
  readonly nameBytes: number
  readonly depth: number
  /** Unpacked to packed; asked only beyond `ratioFloorBytes`, because small files of one byte value are common. */
  readonly ratio: number
  readonly ratioFloorBytes: number
  readonly redirects: number
  readonly connectMs: number
  readonly headersMs: number
  /** For the whole fetch, from the first lookup to the last byte. */
  readonly totalMs: number
  /** Within each `stallMs` at least `stallBytes` must arrive. */
  readonly stallMs: number
  readonly stallBytes: number
}

const MiB = 1024 * 1024

export const DEFAULT_LIMITS: FetchLimits = {
  downloadBytes: 512 * MiB,
  unpackedBytes: 2048 * MiB,
  entries: 100_000,
  pathBytes: 2048,
  nameBytes: 255,
  depth: 100,
  ratio: 200,
  ratioFloorBytes: 32 * MiB,
  redirects: 5,
  connectMs: 10_000,
  headersMs: 30_000,
  totalMs: START_LIMITS.fetchSeconds * 1000,
  stallMs: 30_000,
  stallBytes: 64 * 1024,
}

/** A size for people, such as `512 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1)
  const value = bytes / 1024 ** power
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[power]}`
}
