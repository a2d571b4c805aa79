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

/** Levenshtein distance; anything over `limit` is `limit + 1`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    if (Math.min(...next) > limit) return limit + 1
    row = next
  }
  return row[b.length] ?? limit + 1
}
