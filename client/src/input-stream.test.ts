import { describe, expect, test } from '@jest/globals'
import { INPUT_WINDOW_BYTES } from '@cliscale/contract/terminal'
import { InputStream, MAX_WAITING_BYTES, type Typing } from './input-stream.ts'

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

/** A stream, and a session that keeps what comes as a real one does. */
function setUp() {
  const sent: { at: number; ahead: boolean; text: string }[] = []
  const dropped: number[] = []
  const cuts: true[] = []
  let typing: Typing | undefined
  const stream = new InputStream({
    name: 'page',
    onChange: (now) => (typing = now),
    onDropped: (count) => dropped.push(count),
    onLineCut: () => cuts.push(true),
  })
  const send = (message: Uint8Array): void => {
    const lf = message.indexOf(0x0a)
    const { at, ahead = false } = JSON.parse(text(message.subarray(1, lf))) as { at: number; ahead?: boolean }
    sent.push({ at, ahead, text: text(message.subarray(lf + 1)) })
  }
  return { stream, sent, send, dropped, cuts, typing: () => typing }
}

describe('the input of a page', () => {
  test('reports once that a line was cut', () => {
    const { stream, send, cuts } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes('x'.repeat(5000)))
    stream.progress({ received: 5000, taken: 5000, isLineCut: true })
    stream.progress({ received: 5000, taken: 5000 })
    expect(cuts).toEqual([true])
  })

  test('waits for the first connection and is sent in order', () => {
    const { stream, sent, send } = setUp()
    stream.type(bytes('first '))
    stream.type(bytes('second'))
    expect(sent).toEqual([])
    stream.connect(send, { received: 0, taken: 0 })
    expect(sent.map((each) => [each.at, each.text])).toEqual([
      [0, 'first '],
      [6, 'second'],
    ])
  })

  test('continues after a drop where the session is: only what did not arrive is sent again', () => {
    const { stream, sent, send } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes('one two three'))
    stream.disconnect()
    stream.type(bytes(' four'))
    sent.length = 0
    stream.connect(send, { received: 4, taken: 2 })
    expect(sent.map((each) => [each.at, each.text])).toEqual([
      [4, 'two three'],
      [13, ' four'],
    ])
  })

  test('has at most a window in flight, whatever is pasted, and never splits a character', () => {
    const { stream, sent, send, typing } = setUp()
    const all = '漢字'.repeat(100_000)
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes(all))
    let most = 0
    for (let taken = 0; taken < 600_000;) {
      const end = sent.reduce((sum, each) => sum + bytes(each.text).length, 0)
      most = Math.max(most, end - taken)
      taken = Math.min(end, taken + 9_000)
      stream.progress({ received: end, taken })
    }
    expect(most).toBeLessThanOrEqual(INPUT_WINDOW_BYTES)
    expect(sent.map((each) => each.text).join('')).toBe(all)
    expect(typing()).toEqual({ total: 600_000, taken: 600_000, unsent: 0 })
  })

  test('refuses what would use too much memory, and keeps what it has', () => {
    const { stream, typing } = setUp()
    expect(stream.type(new Uint8Array(MAX_WAITING_BYTES))).toBe(true)
    expect(stream.type(bytes('x'))).toBe(false)
    expect(typing()?.unsent).toBe(MAX_WAITING_BYTES)
  })
})

describe('a key that may interrupt', () => {
  const paste = 'x'.repeat(INPUT_WINDOW_BYTES * 3)

  test('goes ahead of what was not sent; if it interrupts the program, the paste is dropped and the page says so', () => {
    const { stream, sent, send, dropped, typing } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes(paste))
    stream.type(bytes('\u0003'))
    expect(sent.at(-1)).toEqual({ at: paste.length, ahead: true, text: '\u0003' })
    sent.length = 0
    stream.progress({ received: paste.length + 1, taken: paste.length + 1, dropped: 5 })
    expect(dropped).toEqual([paste.length - INPUT_WINDOW_BYTES + 5])
    expect(typing()).toMatchObject({ unsent: 0 })
    stream.type(bytes('y'))
    expect(sent).toEqual([{ at: paste.length + 1, ahead: false, text: 'y' }])
  })

  test('keeps its place where the program reads it as a byte', () => {
    const { stream, sent, send, dropped } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes(paste))
    stream.type(bytes('\u0003'))
    for (let taken = 0; taken < paste.length; taken += INPUT_WINDOW_BYTES) {
      stream.progress({ received: taken + INPUT_WINDOW_BYTES, taken: taken + INPUT_WINDOW_BYTES })
    }
    const inOrder = sent.filter(({ ahead }) => !ahead).map((each) => each.text)
    expect(inOrder.join('')).toBe(`${paste}\u0003`)
    expect(dropped).toEqual([])
  })

  test.each([['\r'], ['\t'], ['\u001b'], ['a'], ['\u0003\u0003']])('is not %j', (key) => {
    const { stream, sent, send } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes(paste))
    stream.type(bytes(key))
    expect(sent.some(({ ahead }) => ahead)).toBe(false)
  })
})

describe('a paste that is cancelled', () => {
  test('keeps what was sent, and ends the bracketed paste that has begun', () => {
    const { stream, sent, send } = setUp()
    stream.connect(send, { received: 0, taken: 0 })
    stream.type(bytes(`\u001b[200~${'x'.repeat(200_000)}\u001b[201~`))
    stream.cancel()
    expect(stream.typing.total).toBe(INPUT_WINDOW_BYTES + 6)
    stream.progress({ received: INPUT_WINDOW_BYTES, taken: INPUT_WINDOW_BYTES })
    expect(sent.at(-1)).toMatchObject({ at: INPUT_WINDOW_BYTES, text: '\u001b[201~' })
  })

  test('leaves nothing where nothing was sent', () => {
    const { stream, sent, send, typing } = setUp()
    stream.type(bytes(`\u001b[200~${'x'.repeat(200_000)}\u001b[201~`))
    stream.cancel()
    expect(typing()).toEqual({ total: 0, taken: 0, unsent: 0 })
    stream.connect(send, { received: 0, taken: 0 })
    expect(sent).toEqual([])
  })
})
