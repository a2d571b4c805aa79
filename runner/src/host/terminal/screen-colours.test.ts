import { expect, test } from '@jest/globals'
import { DARK_COLOURS, LIGHT_COLOURS } from '@cliscale/contract'
import { shownColour } from './screen-colours.ts'

test.each([
  [0, '#1d222b'],
  [9, '#ff8f96'],
  [16, '#000000'],
  [17, '#00005f'],
  [67, '#5f87af'],
  [231, '#ffffff'],
  [232, '#080808'],
  [255, '#eeeeee'],
  [256, '#d5dae3'],
  [257, '#12151b'],
  [258, '#8fb4ff'],
])('colour %d of the dark palette is %s', (index, colour) => {
  expect(shownColour(DARK_COLOURS, index)).toBe(colour)
})

test('the first 16 colours and those of text, background and cursor come from the viewer', () => {
  expect([1, 257].map((index) => shownColour(LIGHT_COLOURS, index))).toEqual(['#c4303b', '#fdfdfc'])
})
