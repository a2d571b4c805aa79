import { expect, test } from '@jest/globals'
import { readNote, readNotes, section } from './changelog.mjs'

test.each([
  ['an unknown kind', 'area: web\nkind: broken\n\nText.\n'],
  ['an unknown kind that is a property of every object', 'area: web\nkind: toString\n\nText.\n'],
  ['no area', 'kind: fixed\n\nText.\n'],
  ['no text', 'area: web\nkind: fixed\n\n'],
  ['nothing', ''],
])('a note with %s is refused, and named', (_, text) => {
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

test('every note in changes/ can go into a release', () => {
  for (const { what } of readNotes()) expect(what.trim().length).toBeGreaterThan(20)
})
