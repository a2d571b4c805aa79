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

test.each([
  ['API_KEY=sk-1 python main.py', 'API_KEY=… python main.py'],
  ['A=1 B_2=\'two words\' C="a \\" b"c d', 'A=… B_2=… C=… d'],
  ['export TOKEN="a b"; npm test', 'export TOKEN=…; npm test'],
  ['env -i KEY=sk\\ 1 PATH=$PATH run', 'env -i KEY=… PATH=… run'],
  ['cd app && KEY=sk ./run | tee log', 'cd app && KEY=… ./run | tee log'],
  ['(KEY=sk run)', '(KEY=… run)'],
  ['KEY=$(pass show (a) b) run', 'KEY=… run'],
  ['KEY=$(a (b (c))) d', 'KEY=…'],
  ['KEY=(a b) LIST+=c MAP[x]=d run', 'KEY=… LIST+=… MAP[x]=… run'],
  ['docker run -e "KEY=some words" -e KEY=sk image', 'docker run -e "KEY=…" -e KEY=… image'],
  ['docker run -eKEY=sk --env=KEY=sk image', 'docker run -eKEY=… --env=KEY=… image'],
  ["KEY=$'a\\'b c' run", 'KEY=… run'],
  ['KEY="$(pass "a b")" run', 'KEY=…'],
  ["bash -c 'KEY=sk run'", "bash -c 'KEY=…'"],
  ['KEY="first\nsecond" run', 'KEY=… …'],
  ["KEY='open", 'KEY=…'],
  ['KEY=sk\\', 'KEY=…'],
  ['CI= npm test', 'CI= npm test'],
  ['curl https://host/?a=b --retry=3 -d x', 'curl https://host/?a=b --retry=3 -d x'],
])('of %j, viewers see no value of a variable', (command, shown) => {
  expect(shownCommand(command)).toBe(shown)
})

test('a long line of hostile quotes takes no time', () => {
  for (const piece of ['A=(', 'A="', "'A=", 'A=$((', '"\\', 'A=`(a']) {
    const start = performance.now()
    shownCommand(piece.repeat(30_000))
    expect(performance.now() - start).toBeLessThan(500)
  }
})
