import { expect, test } from '@jest/globals'
import { Ring } from './ring.ts'

const SIZES = [10, 20, 30].map((columns) => ({ columns, rows: 5 })) as [
  { columns: number; rows: number },
  { columns: number; rows: number },
  { columns: number; rows: number },
]

test('returns any range of its last bytes, whatever the lengths they arrived in', () => {
  const ring = new Ring(97, 1000, SIZES[0])
  const all = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 31) % 251))
  let at = 0
  for (let i = 0; at < all.length; i++) {
    const part = all.subarray(at, at + 1 + ((i * 7) % 150))
    ring.append(part)
    at += part.length
    expect([ring.head, ring.start]).toEqual([1000 + at, Math.max(1000, 1000 + at - 97)])
    for (const [from, length] of [
      [ring.start, 200],
      [ring.start + 13, 50],
      [ring.head - 1, 9],
    ] as const) {
      if (from < ring.start || from >= ring.head) continue
      const expected = all.subarray(from - 1000, Math.min(from - 1000 + length, at))
      expect(Buffer.compare(ring.read(from, length)!.bytes, expected)).toBe(0)
    }
  }
  expect([ring.read(ring.start - 1, 5), ring.read(ring.head, 5)]).toEqual([undefined, undefined])
})

test('ends a read where the size changes, and keeps a size longer than the bytes it began with', () => {
  const ring = new Ring(10, 0, SIZES[0])
  ring.append(Buffer.from('abc'))
  ring.setSize(SIZES[1])
  ring.setSize(SIZES[2])
  ring.append(Buffer.from('defg'))
  expect(ring.read(1, 100)).toEqual({ offset: 1, bytes: Buffer.from('bc'), size: SIZES[0] })
  expect(ring.read(3, 100)).toEqual({ offset: 3, bytes: Buffer.from('defg'), size: SIZES[2] })
  ring.append(Buffer.from('hijklmnop'))
  expect(ring.read(6, 100)).toEqual({ offset: 6, bytes: Buffer.from('ghijklmnop'), size: SIZES[2] })
})
