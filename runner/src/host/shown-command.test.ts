import { expect, test } from '@jest/globals'
import { shownCommand } from './shown-command.ts'

test.each([
  ['npm test', 'npm test'],
  ['\n  make all\n', 'make all'],
  ['set -e\r\nmake all', 'set -e …'],
  ['echo \x1b]0;title\x07 \u202e \u009b31m\tx', 'echo  ]0;title     31m x'],
  ['a'.repeat(200), 'a'.repeat(200)],
  ['🚀'.repeat(201), `${'🚀'.repeat(199)}…`],
  [`${'a'.repeat(199)}\nb`, `${'a'.repeat(199)}…`],
  ['', ''],
])('of %j, viewers see its first line', (command, shown) => {
  expect(shownCommand(command)).toBe(shown)
})
