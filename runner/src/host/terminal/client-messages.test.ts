import { expect, test } from '@jest/globals'
import { decodeClientMessage } from './client-messages.ts'
import { InputBudget } from './input-budget.ts'

test.each([
  ['{"columns":80}', { type: 'hello', value: { columns: 80 } }],
  ['{broken', { type: 'hello', value: {} }],
  ['0ls\r', { type: 'input', bytes: Buffer.from('ls\r') }],
  ['0', { type: 'input', bytes: Buffer.alloc(0) }],
  ['1{"columns":1,"rows":2}', { type: 'resize', value: { columns: 1, rows: 2 } }],
  ['1{"columns":', { type: 'ignored' }],
  ['1null', { type: 'ignored' }],
  ['1', { type: 'ignored' }],
  ['2', { type: 'pause' }],
  ['3', { type: 'resume' }],
  ['4{"seq":5}', { type: 'ack', seq: 5 }],
  ['4{"seq":-5}', { type: 'ignored' }],
  ['4{"seq":1.5}', { type: 'ignored' }],
  ['4{"seq":1e300}', { type: 'ignored' }],
  ['4{"seq":"5"}', { type: 'ignored' }],
  ['4', { type: 'ignored' }],
  ['5{"at":7}\nls\r', { type: 'typed', at: 7, ahead: false, bytes: Buffer.from('ls\r') }],
  ['5{"at":7,"ahead":true}\n\u0003', { type: 'typed', at: 7, ahead: true, bytes: Buffer.from('\u0003') }],
  ['5{"at":7,"ahead":1}\n', { type: 'typed', at: 7, ahead: false, bytes: Buffer.alloc(0) }],
  ['5{"at":-1}\nls', { type: 'ignored' }],
  ['5{"at":1.5}\nls', { type: 'ignored' }],
  ['5{"at":7}ls', { type: 'ignored' }],
  ['5\nls', { type: 'ignored' }],
  ['5', { type: 'ignored' }],
  ['', { type: 'ignored' }],
  ['\u00ff', { type: 'ignored' }],
])('a client’s %j is understood or ignored', (message, expected) => {
  expect(decodeClientMessage(Buffer.from(message))).toEqual(expected)
})

test('the input budget grants a second’s worth at once, then the rate, and delays what exceeds it', () => {
  let now = 0
  const budget = new InputBudget(10_000, () => now)
  expect(budget.take(9000)).toBe(0)
  expect(budget.take(5000)).toBe(503)
  now = 503
  expect(budget.take(0)).toBe(51)
  now = 60_000
  expect(budget.take(9488)).toBe(0)
  expect(budget.take(0)).toBeGreaterThan(0)
})

test('many empty messages use up the budget', () => {
  const budget = new InputBudget(64 * 1024, () => 0)
  let messages = 0
  while (budget.take(0) === 0) messages++
  expect(messages).toBe(128)
})
