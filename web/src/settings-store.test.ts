import { expect, test } from '@jest/globals'
import { DEFAULT_SETTINGS, readSettings, type Settings, writeSettings } from './settings-store.ts'

const holding = (value: string | null) => ({ getItem: () => value })

test.each([null, 'x', '[]', '{"fontSize":"9","theme":"pink","screenReader":1}', 'null'])(
  'broken or missing settings are the defaults: %s',
  (value) => {
    expect(readSettings(holding(value))).toEqual(DEFAULT_SETTINGS)
  },
)

test('a font size out of range becomes the nearest one in range', () => {
  expect(readSettings(holding('{"fontSize":9000}')).fontSize).toBe(28)
  expect(readSettings(holding('{"fontSize":-1}')).fontSize).toBe(9)
})

test('saved settings are read again, and a browser that saves nothing is no error', () => {
  let kept = ''
  const settings: Settings = {
    fontSize: 18,
    theme: 'dark',
    screenReader: true,
    findKey: false,
    leaveKey: false,
    optionIsMeta: true,
  }
  writeSettings({ setItem: (_key, value) => (kept = value) }, settings)
  expect(readSettings(holding(kept))).toEqual(settings)
  const full = {
    setItem: () => {
      throw new Error('QuotaExceededError')
    },
  }
  expect(() => writeSettings(full, settings)).not.toThrow()
  const closed = {
    getItem: () => {
      throw new Error('SecurityError')
    },
  }
  expect(readSettings(closed)).toEqual(DEFAULT_SETTINGS)
})
