import { expect, test } from '@jest/globals'
import { parseQuantity } from './quantity.ts'

test.each([
  ['1', 1],
  ['500m', 0.5],
  ['0.5', 0.5],
  ['1Ki', 1024],
  ['10Gi', 10 * 2 ** 30],
  ['1k', 1000],
  ['128M', 128e6],
  ['1e3', 1000],
  ['1E3', 1000],
  ['0', 0],
])('%s is %d', (text, value) => expect(parseQuantity(text)).toBeCloseTo(value))

test.each(['', '-1', '1Zi', '1e99', '1 Gi', 'Gi', '1.', '.5', '0x10', '1gi', 'NaN', '1Gi1', '9999999Pi'])(
  '"%s" is not a quantity',
  (text) => expect(parseQuantity(text)).toBeUndefined(),
)
