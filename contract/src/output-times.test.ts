import { expect, test } from '@jest/globals'
import { decodeOutputTimes, encodeOutputTimes, MAX_OUTPUT_TIMES, type OutputTimes } from './output-times.ts'

test('times come back as they were sent, as many as a report may have', () => {
  const most = Array.from({ length: MAX_OUTPUT_TIMES }, (_, i) => [i * 255, 1_767_225_600_000 + i] as const)
  const all: OutputTimes[] = [
    [[0, 0]],
    [
      [0, 5],
      [1, 5],
    ],
    most,
  ]
  for (const times of all) expect(decodeOutputTimes(encodeOutputTimes(times), 65_536)).toEqual(times)
})

test('times that are no such times are passed over', () => {
  const tooMany = Array.from({ length: MAX_OUTPUT_TIMES + 1 }, (_, i) => `${i}:1`).join(',')
  const bad = ['', '0', '0:', '1:5', '0:5,0:6', '0:5,2:6,1:7', '0:5,1:4', '0:5,10:6', '0:-1', '0:1.5', '0:1e3', '0:x']
  for (const text of [...bad, '0:5,', ',0:5', '0:5 ,1:6', '0:999999999999999', tooMany])
    expect([text, decodeOutputTimes(text, text === tooMany ? 65_536 : 10)]).toEqual([text, undefined])
  expect(decodeOutputTimes('0:5', 0)).toBeUndefined()
})
