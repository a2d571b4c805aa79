import { describe, expect, test } from '@jest/globals'
import { ACK_EVERY_BYTES } from '@cliscale/contract/terminal'
import { Position } from './position.ts'

describe('Position', () => {
  test('asks for nothing before the first HELLO', () => {
    expect(new Position().resume).toBeUndefined()
  })

  test('a fresh terminal at offset 0 needs no reset, one that starts later does', () => {
    expect(new Position().hello({ epoch: 'a', seq: 0 })).toBe(false)
    expect(new Position().hello({ epoch: 'a', seq: 5 })).toBe(true)
  })

  test('continues where it was when epoch and offset are the same', () => {
    const position = new Position()
    position.hello({ epoch: 'a', seq: 0 })
    position.received(10)
    expect(position.resume).toEqual({ epoch: 'a', have: 10 })
    expect(position.hello({ epoch: 'a', seq: 10 })).toBe(false)
    expect(position.resume).toEqual({ epoch: 'a', have: 10 })
  })

  test.each([
    ['another epoch', { epoch: 'b', seq: 10 }],
    ['an earlier offset', { epoch: 'a', seq: 0 }],
    ['a later offset', { epoch: 'a', seq: 11 }],
  ])('resets on %s', (_name, hello) => {
    const position = new Position()
    position.hello({ epoch: 'a', seq: 0 })
    position.received(10)
    expect(position.hello(hello)).toBe(true)
    expect(position.resume).toEqual({ epoch: hello.epoch, have: hello.seq })
  })

  test('acknowledges what was processed, never what only arrived', () => {
    const position = new Position()
    position.hello({ epoch: 'a', seq: 0 })
    const first = position.received(100)
    const second = position.received(ACK_EVERY_BYTES)
    expect(position.takeAck()).toBeUndefined()
    expect(position.parsed(first)).toBe(false)
    expect(position.takeAck()).toBe(100)
    expect(position.takeAck()).toBeUndefined()
    expect(position.parsed(second)).toBe(true)
    expect(position.takeAck()).toBe(100 + ACK_EVERY_BYTES)
  })

  test('a late callback from before a jump changes nothing', () => {
    const position = new Position()
    position.hello({ epoch: 'a', seq: 0 })
    const old = position.received(1000)
    position.hello({ epoch: 'b', seq: 0 })
    expect(position.parsed(old)).toBe(false)
    expect(position.takeAck()).toBeUndefined()
  })

  test('a snapshot sets the offset, and counting continues from there', () => {
    const position = new Position()
    position.hello({ epoch: 'a', seq: 0 })
    position.snapshot(5000)
    expect(position.resume).toEqual({ epoch: 'a', have: 5000 })
    position.parsed(position.received(7))
    expect(position.takeAck()).toBe(5007)
  })
})
