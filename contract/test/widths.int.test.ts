import { execFileSync } from 'node:child_process'
import { describe, expect, test } from '@jest/globals'
import { createWidths } from '../src/terminal-widths.ts'

const ASK = `
import ctypes, ctypes.util, locale
locale.setlocale(locale.LC_ALL, 'C.UTF-8')
libc = ctypes.CDLL('libc.so.6')
libc.gnu_get_libc_version.restype = ctypes.c_char_p
libc.gnu_get_libc_version()
print(' '.join(str(libc.wcwidth(code)) for code in range(0x110000)))
`
const widths = createWidths()

/** The width of each code point, -1 where glibc does not know it; undefined on a machine without glibc. */
function askGlibc(): number[] | undefined {
  try {
    const text = execFileSync('python3', ['-c', ASK], { encoding: 'utf8', maxBuffer: 1 << 24, stdio: 'pipe' })
    return text.trim().split(' ').map(Number)
  } catch {
    return undefined
  }
}

/** Columns of a text, as xterm.js adds them up. */
function columnsOf(text: string): number {
  let preceding = 0
  let columns = 0
  for (const each of text) {
    const next = widths.charProperties(each.codePointAt(0) as number, preceding)
    columns += ((next >> 1) & 3) - (next & 1 ? (preceding >> 1) & 3 : 0)
    preceding = next
  }
  return columns
}

/** Widths that Unicode has changed since version 14: trigrams and Tai Xuan Jing are wide, an Ahom vowel takes room. */
const CHANGED: readonly (readonly [number, number])[] = [
  [0x1171e, 0x1171e],
  [0x2630, 0x2637],
  [0x268a, 0x268f],
  [0x1d300, 0x1d356],
  [0x1d360, 0x1d376],
]

const glibc = askGlibc()
if (glibc === undefined) {
  process.stderr.write('Widths are not compared with glibc: there is none here, or no python3.\n')
} else {
  test('every code point that this machine’s glibc knows is as wide as glibc says', () => {
    const differs = glibc.flatMap((expected, code) => {
      const isNews = CHANGED.some(([first, last]) => code >= first && code <= last)
      return expected >= 0 && !isNews && widths.wcwidth(code) !== expected
        ? [`U+${code.toString(16)}: ${widths.wcwidth(code)}, not ${expected}`]
        : []
    })
    expect(differs).toEqual([])
  })
}

describe('widths by Unicode 16', () => {
  test.each([
    ['13', 0x1f972, 2],
    ['14, bubbles', 0x1fae7, 2],
    ['15, a pink heart', 0x1fa77, 2],
    ['15.1, an ideograph of extension I', 0x2ebf0, 2],
    ['16, a face with bags under its eyes', 0x1fae9, 2],
    ['16, a shovel', 0x1fa8f, 2],
    ['16, a mark of Todhri', 0x113ce, 0],
    ['16, a letter of Garay', 0x10d4a, 1],
    ['16, hexagrams', 0x4dc0, 2],
    ['17, which is not known yet', 0x1faea, 1],
    ['ASCII', 0x41, 1],
    ['a soft hyphen', 0xad, 1],
    ['an accent', 0x301, 0],
    ['a joiner', 0x200d, 0],
    ['a selector', 0xfe0f, 0],
    ['a leading Hangul letter', 0x1100, 2],
    ['a middle Hangul letter', 0x1161, 0],
    ['a trailing Hangul letter', 0x11a8, 0],
    ['a syllable', 0xac00, 2],
    ['an ideograph', 0x6f22, 2],
    ['an ideograph of plane 3', 0x30000, 2],
    ['half of a flag', 0x1f1e9, 1],
    ['a tag', 0xe0067, 0],
  ])('%s: code point %i takes %i columns', (_, code, columns) => {
    expect(widths.wcwidth(code)).toBe(columns)
  })

  test.each([
    ['text', 'hello', 5],
    ['an accent', 'e\u0301', 1],
    ['many accents', 'Z\u0351\u036b\u0343', 1],
    ['Hangul of three letters', '\u1112\u1161\u11ab', 2],
    ['Devanagari, whose vowels take a column', 'कि', 2],
    ['an emoji with the emoji selector', '\u2764\ufe0f', 2],
    ['the same character without a selector', '\u2764', 1],
    ['the same character with the text selector', '\u2764\ufe0e', 1],
    ['a wide emoji with a selector', '\u231a\ufe0f', 2],
    ['a selector where none belongs', 'a\ufe0fb', 2],
    ['a keycap', '1\ufe0f\u20e3', 2],
    ['digits', '12', 2],
    ['a family', '👨‍👩‍👧‍👦', 2],
    ['a family in a sentence', 'x👨‍👩‍👧y', 4],
    ['a profession with a skin tone', '👩🏽‍🚀', 2],
    ['a heart on fire', '❤️‍🔥', 2],
    ['a skin tone', '👍🏽', 2],
    ['a skin tone by itself', '🏽', 2],
    ['a skin tone after a letter', 'a🏽', 3],
    ['a flag', '🇩🇪', 2],
    ['two flags', '🇩🇪🇫🇷', 4],
    ['a flag and half of another', '🇩🇪🇫', 3],
    ['a flag made of tags', '🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', 2],
    ['a rainbow flag', '🏳️‍🌈', 2],
    ['emoji side by side', '🙂🙂', 4],
    ['a joiner between letters', 'a\u200db', 2],
    ['a joiner after an emoji and a letter', '👩\u200da', 3],
  ])('%s: %s', (_, text, columns) => {
    expect(columnsOf(text)).toBe(columns)
  })
})
