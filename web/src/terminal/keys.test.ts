import { beforeEach, describe, expect, test } from '@jest/globals'
import { createKeyHandler, type KeyRules } from './keys.ts'

describe('keys', () => {
  let log: string[]
  let selected: boolean
  let now: number
  const press = (isMac = false, rules: Partial<KeyRules> = {}) =>
    createKeyHandler(
      {
        copySelection: () => {
          log.push('copy')
          return selected
        },
        openSearch: () => log.push('search'),
        leave: (backwards) => log.push(backwards ? 'leave back' : 'leave'),
      },
      () => ({ isMac, findKey: true, leaveKey: true, isReadOnly: false, ...rules }),
      () => now,
    )
  const key = (spec: string, code?: string) => {
    const parts = spec.split('-')
    const last = parts.at(-1) ?? ''
    return {
      type: 'keydown',
      key: last,
      code: code ?? (last.length === 1 ? `Key${last.toUpperCase()}` : last),
      ctrlKey: parts.includes('Ctrl'),
      metaKey: parts.includes('Cmd'),
      shiftKey: parts.includes('Shift'),
      altKey: parts.includes('Alt'),
      preventDefault: () => log.push('prevented'),
    }
  }

  beforeEach(() => {
    log = []
    selected = false
    now = 0
  })

  test('Ctrl-C interrupts without a selection and copies with one', () => {
    expect(press()(key('Ctrl-c'))).toBe(true)
    selected = true
    expect(press()(key('Ctrl-c'))).toBe(false)
  })

  test('Ctrl-Shift-C copies and never reaches the program', () => {
    expect(press()(key('Ctrl-Shift-C'))).toBe(false)
    expect(log).toEqual(['prevented', 'copy'])
  })

  test('Ctrl-Shift-V is left to the browser, Ctrl-V to the program', () => {
    expect(press()(key('Ctrl-Shift-V'))).toBe(false)
    expect(press()(key('Ctrl-v'))).toBe(true)
    expect(log).toEqual([])
  })

  test('Ctrl-F searches; on a Mac, Cmd-F searches and Ctrl-F reaches the program', () => {
    expect(press()(key('Ctrl-f'))).toBe(false)
    expect(press(true)(key('Cmd-f'))).toBe(false)
    expect(press(true)(key('Ctrl-f'))).toBe(true)
    expect(log).toEqual(['prevented', 'search', 'prevented', 'search'])
  })

  test('on a Mac Cmd-C copies and Ctrl-C interrupts', () => {
    selected = true
    expect(press(true)(key('Cmd-c'))).toBe(false)
    expect(press(true)(key('Ctrl-c'))).toBe(true)
  })

  test('Esc then Tab leaves, with Shift backwards; Esc itself reaches the program', () => {
    const handle = press()
    expect(handle(key('Escape'))).toBe(true)
    expect(handle(key('Tab'))).toBe(false)
    expect(handle(key('Escape'))).toBe(true)
    handle(key('Shift'))
    expect(handle(key('Shift-Tab'))).toBe(false)
    expect(log).toEqual(['prevented', 'leave', 'prevented', 'leave back'])
  })

  test.each([
    ['Cyrillic', 'с', 'а', 'м'],
    ['Greek', 'ψ', 'φ', 'ω'],
    ['Hebrew', 'ב', 'כ', 'ה'],
  ])('the keys of copy, search and paste are where they are on a %s layout', (_, c, f, v) => {
    selected = true
    expect(press()(key(`Ctrl-${c}`, 'KeyC'))).toBe(false)
    expect(press()(key(`Ctrl-${f}`, 'KeyF'))).toBe(false)
    expect(press()(key(`Ctrl-Shift-${v}`, 'KeyV'))).toBe(false)
    expect(press(true)(key(`Cmd-${c}`, 'KeyC'))).toBe(false)
    expect(log).toEqual(['copy', 'prevented', 'prevented', 'search', 'prevented', 'copy'])
  })

  test('on a Latin layout the letter counts, not the position of its key', () => {
    selected = true
    expect(press()(key('Ctrl-c', 'KeyI'))).toBe(false)
    expect(press()(key('Ctrl-j', 'KeyC'))).toBe(true)
    expect(press()(key('Ctrl-;', 'KeyC'))).toBe(true)
  })

  test('with the settings off, Ctrl-F and Esc, Tab reach the program; Ctrl-Shift-F still searches', () => {
    const handle = press(false, { findKey: false, leaveKey: false })
    expect(handle(key('Ctrl-f'))).toBe(true)
    expect(handle(key('Escape'))).toBe(true)
    expect(handle(key('Tab'))).toBe(true)
    expect(log).toEqual([])
    expect(handle(key('Ctrl-Shift-F'))).toBe(false)
    expect(log).toEqual(['prevented', 'search'])
  })

  test('where nothing can be typed, Tab is left to the browser', () => {
    const handle = press(false, { isReadOnly: true, leaveKey: false })
    expect(handle(key('Tab'))).toBe(false)
    expect(handle(key('Shift-Tab'))).toBe(false)
    expect(log).toEqual([])
  })

  test('Tab alone, after another key, or too late does not leave the terminal', () => {
    const handle = press()
    expect(handle(key('Tab'))).toBe(true)
    handle(key('Escape'))
    handle(key('a'))
    expect(handle(key('Tab'))).toBe(true)
    handle(key('Escape'))
    now = 5_000
    expect(handle(key('Tab'))).toBe(true)
    expect(log).toEqual([])
  })
})
