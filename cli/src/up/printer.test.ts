import { expect, test } from '@jest/globals'
import { createPrinter } from './printer.ts'

function lines(isTerminal: boolean) {
  let text = ''
  let now = 0
  const printer = createPrinter({ write: (more) => (text += more) }, isTerminal, () => now)
  return { printer, text: () => text, later: (ms: number) => Promise.resolve(void (now += ms)) }
}

test('a step is one line with its seconds', async () => {
  const { printer, text, later } = lines(false)
  await printer.step('Baking', () => later(1_250))
  expect(text()).toBe('  Baking done (1.3 s)\n')
})

test('on a terminal the line stands there while the step runs', async () => {
  const { printer, text, later } = lines(true)
  await printer.step('Baking', () => later(100))
  expect(text()).toBe('  Baking …\r\u001b[K  Baking done (0.1 s)\n')
})

test('a step that fails says so and hands on its error', async () => {
  const { printer, text } = lines(false)
  await expect(printer.step('Baking', () => Promise.reject(new Error('burnt')))).rejects.toThrow('burnt')
  expect(text()).toBe('  Baking failed (0.0 s)\n')
})
