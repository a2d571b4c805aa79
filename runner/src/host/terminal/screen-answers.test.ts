import { expect, test } from '@jest/globals'
import { paletteColour } from './screen-answers.ts'

test.each([
  [0, '0000/0000/0000'],
  [9, 'f1f1/4c4c/4c4c'],
  [16, '0000/0000/0000'],
  [17, '0000/0000/5f5f'],
  [67, '5f5f/8787/afaf'],
  [231, 'ffff/ffff/ffff'],
  [232, '0808/0808/0808'],
  [255, 'eeee/eeee/eeee'],
  [256, undefined],
  [-1, undefined],
  [1.5, undefined],
])('place %d of the palette is %s', (index, colour) => {
  expect(paletteColour(index)).toBe(colour)
})
