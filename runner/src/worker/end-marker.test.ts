import { describe, expect, test } from '@jest/globals'
import { createMarker, MarkerScanner } from './end-marker.ts'

describe('the end marker', () => {
  const marker = createMarker()

  test('is found wherever reads split it, and what precedes it stays whole', () => {
    const before = Buffer.from(`text \x1b]7681;${'0'.repeat(20)} more \x1b]`)
    const all = Buffer.concat([before, marker, Buffer.from('after')])
    for (let first = 0; first <= all.length; first++) {
      for (const second of [first, Math.min(first + 3, all.length), all.length]) {
        const scanner = new MarkerScanner(marker)
        const parts = [all.subarray(0, first), all.subarray(first, second), all.subarray(second)]
        const out: Buffer[] = []
        let found = false
        for (const part of parts) {
          if (found) break
          const result = scanner.push(part)
          out.push(result.bytes)
          found = result.found
        }
        expect(found).toBe(true)
        expect(Buffer.concat(out).equals(before)).toBe(true)
      }
    }
  })

  test('is found when it arrives one byte at a time', () => {
    const scanner = new MarkerScanner(marker)
    let out = ''
    const found = Array.from(Buffer.concat([Buffer.from('ab'), marker])).some((byte) => {
      const result = scanner.push(Buffer.from([byte]))
      out += result.bytes.toString()
      return result.found
    })
    expect([found, out]).toEqual([true, 'ab'])
  })

  test('lets out what was held back when it never arrives', () => {
    const scanner = new MarkerScanner(marker)
    const start = marker.subarray(0, 10)
    expect(scanner.push(Buffer.concat([Buffer.from('x'), start]))).toEqual({ bytes: Buffer.from('x'), found: false })
    expect(scanner.rest().equals(start)).toBe(true)
  })

  test('differs each time, and is upper case only', () => {
    expect(marker.equals(createMarker())).toBe(false)
    expect(marker.toString()).toBe(marker.toString().toUpperCase())
  })
})
