import { expect, test } from '@jest/globals'
import { readNote, readNotes, section } from './changelog.mjs'

test.each([
  ['a kind that is none', 'area: web\nkind: broken\n\nText.\n'],
  ['a kind that every object has', 'area: web\nkind: toString\n\nText.\n'],
  ['no area', 'kind: fixed\n\nText.\n'],
  ['no text', 'area: web\nkind: fixed\n\n'],
  ['nothing', ''],
])('a note with %s is refused with its name', (_, text) => {
  expect(() => readNote('changes/a.md', text)).toThrow('changes/a.md is no note')
})

test('a release lists what was added, then what changed, then what was fixed', () => {
  const notes = [
    { area: 'web', kind: 'fixed', what: 'Copy works.' },
    { area: 'runner', kind: 'added', what: 'zip is read.' },
    { area: 'cli', kind: 'fixed', what: 'Ctrl-C works.' },
  ]
  expect(section('0.2.0', '2026-01-02', notes)).toBe(
    '## 0.2.0 (2026-01-02)\n\n### Added\n\n- runner: zip is read.\n\n### Fixed\n\n- cli: Ctrl-C works.\n- web: Copy works.',
  )
})

test('every note in changes/ can be released', () => {
  for (const { what } of readNotes()) expect(what.trim().length).toBeGreaterThan(20)
})
