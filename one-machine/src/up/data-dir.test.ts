import { expect, test } from '@jest/globals'
import { defaultDataDir } from './data-dir.ts'

const USER = { uid: 1000, platform: 'linux', home: '/home/ada', xdgDataHome: undefined } as const

test('the data folder depends on the operating system and the user', () => {
  expect(defaultDataDir({ ...USER, uid: 0 })).toBe('/var/lib/cliscale')
  expect(defaultDataDir(USER)).toBe('/home/ada/.local/share/cliscale')
  expect(defaultDataDir({ ...USER, xdgDataHome: '/data/ada' })).toBe('/data/ada/cliscale')
  expect(defaultDataDir({ ...USER, platform: 'darwin' })).toBe('/home/ada/Library/Application Support/cliscale')
})

test('a relative XDG_DATA_HOME counts as absent', () => {
  expect(defaultDataDir({ ...USER, xdgDataHome: 'data' })).toBe('/home/ada/.local/share/cliscale')
})
