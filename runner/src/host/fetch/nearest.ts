import { editDistance } from '@cliscale/service-kit'

/** Names that someone may have meant: the same last part elsewhere first, then few edits away; at most three. */
export function nearest(wanted: string, names: readonly string[]): string[] {
  const last = wanted.slice(wanted.lastIndexOf('/') + 1)
  const limit = Math.max(2, Math.floor(wanted.length / 3))
  return names
    .filter((name) => name !== '' && name.length < 200 && Math.abs(name.length - wanted.length) <= 40)
    .slice(0, 5000)
    .map((name) => {
      const sameLast = name.slice(name.lastIndexOf('/') + 1).toLowerCase() === last.toLowerCase()
      return { name, distance: sameLast ? 0 : editDistance(wanted.slice(0, 200), name, limit) }
    })
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || a.name.length - b.name.length)
    .slice(0, 3)
    .map(({ name }) => name)
}
