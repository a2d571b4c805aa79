import { expect, test } from '@jest/globals'
import { createPrinter } from './printer.ts'

function lines() {
  let text = ''
  let now = 0
  const printer = createPrinter({ write: (more) => (text += more) }, () => now)
  return { printer, text: () => text, later: (ms: number) => Promise.resolve(void (now += ms)) }
}

test('a step prints its name while it runs, and then its seconds on the same line', async () => {
  const { printer, text, later } = lines()
  await printer.step('Baking', () => {
    expect(text()).toBe('  Baking … ')
    return later(1_250)
  })
  expect(text()).toBe('  Baking … done (1.3 s)\n')
})

test('a step that fails says so and passes on its error', async () => {
  const { printer, text } = lines()
  await expect(printer.step('Baking', () => Promise.reject(new Error('burnt')))).rejects.toThrow('burnt')
  expect(text()).toBe('  Baking … failed (0.0 s)\n')
})
