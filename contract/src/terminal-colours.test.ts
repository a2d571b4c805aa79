import { expect, test } from '@jest/globals'
import { DARK_COLOURS, isDark, LIGHT_COLOURS, parseColours } from './terminal-colours.ts'

test('accepts the colours that a page reports, unchanged', () => {
  for (const colours of [DARK_COLOURS, LIGHT_COLOURS])
    expect(parseColours(JSON.parse(JSON.stringify(colours)))).toEqual(colours)
})

test.each([
  [undefined],
  [null],
  ['light'],
  [{}],
  [{ ...LIGHT_COLOURS, background: 'white' }],
  [{ ...LIGHT_COLOURS, cursor: '#fff' }],
  [{ ...LIGHT_COLOURS, foreground: '#0000000' }],
  [{ ...LIGHT_COLOURS, palette: LIGHT_COLOURS.palette.slice(1) }],
  [{ ...LIGHT_COLOURS, palette: [...LIGHT_COLOURS.palette.slice(1), '\u001b[c'] }],
])('refuses %j as a set of colours', (value) => {
  expect(parseColours(value)).toBeUndefined()
})

test('text and background decide whether colours are dark', () => {
  expect([isDark(DARK_COLOURS), isDark(LIGHT_COLOURS)]).toEqual([true, false])
})
