import { describe, expect, test } from '@jest/globals'
import type { SessionProcess } from './process-list.ts'
import { StopOrder } from './stop-order.ts'

const TIMES = { headStartTicks: 100, patienceTicks: 500, quietTicks: 200 }

function one(pid: number, rest: Partial<SessionProcess> = {}): SessionProcess {
  return {
    pid,
    start: 0,
    parent: 1,
    onTerm: 'ends',
    isShell: false,
    waits: true,
    reads: undefined,
    writes: [],
    readBytes: 0,
    ...rest,
  }
}

function steps(order: StopOrder, alive: SessionProcess[], now = 10): string[] {
  return order.next(alive, now).map(({ process, signals }) => `${process.pid} ${signals.join('+')}`)
}

const ASKED = 'SIGTERM+SIGCONT'

describe('the order of a stop', () => {
  test('stops the parents that SIGTERM would end, and asks their children first', () => {
    const order = new StopOrder(TIMES)
    const [npm, shell, node] = [
      one(10, { onTerm: 'handles' }),
      one(11, { parent: 10 }),
      one(12, { parent: 11, onTerm: 'handles' }),
    ]
    expect(steps(order, [node, shell, npm])).toEqual(['10 SIGSTOP', '11 SIGSTOP', `12 ${ASKED}`])
    expect(steps(order, [node, shell, npm])).toEqual([])
    expect(steps(order, [shell, npm])).toEqual([`10 ${ASKED}`, `11 ${ASKED}`])
  })

  test('asks a shell that it stopped as soon as its children are gone, whatever the package manager above it does', () => {
    const order = new StopOrder(TIMES)
    const npm = one(10, { onTerm: 'handles', waits: false })
    const shell = one(11, { parent: 10 })
    expect(steps(order, [npm, shell, one(12, { parent: 11 })])).toEqual(['10 SIGSTOP', '11 SIGSTOP', `12 ${ASKED}`])
    expect(steps(order, [npm, shell])).toEqual([`10 ${ASKED}`, `11 ${ASKED}`])
  })

  test('gives a parent that handles SIGTERM a moment to pass it on', () => {
    const order = new StopOrder(TIMES)
    const both = [one(10, { onTerm: 'handles' }), one(11, { parent: 10, onTerm: 'handles' })]
    expect(steps(order, both, 10)).toEqual([`10 ${ASKED}`])
    expect(steps(order, both, 109)).toEqual([])
    expect(steps(order, both, 110)).toEqual([`11 ${ASKED}`])
  })

  test('leaves its workers to a master that still works, until it waits for them, is gone, or has had its time', () => {
    const master = one(10, { onTerm: 'handles', waits: false })
    const workers = [one(11, { parent: 10 }), one(12, { parent: 10, onTerm: 'handles' })]
    const begun = (): StopOrder => {
      const order = new StopOrder(TIMES)
      expect(steps(order, [master, ...workers], 10)).toEqual([`10 ${ASKED}`])
      expect(steps(order, [master, ...workers], 509)).toEqual([])
      return order
    }
    const both = [`11 ${ASKED}`, `12 ${ASKED}`]
    expect(steps(begun(), [{ ...master, waits: true }, ...workers], 509)).toEqual(both)
    expect(steps(begun(), workers, 509)).toEqual(both)
    expect(steps(begun(), [master, ...workers], 510)).toEqual(both)
  })

  test('asks everybody in a long line in time, if nobody in it passes the signal on', () => {
    const order = new StopOrder(TIMES)
    const busy = { onTerm: 'handles', waits: false } as const
    const line = [one(10, busy), ...[11, 12, 13].map((pid) => one(pid, { ...busy, parent: pid - 1 }))]
    const all = [...line, one(14, { parent: 13 })]
    const asked = new Map<string, number>()
    for (let now = 0; now < 1000; now += 2) for (const step of steps(order, all, now)) asked.set(step, now)
    expect([...asked.values()]).toEqual([0, 500, 600, 700, 800])
    expect([...asked.keys()]).toEqual(all.map(({ pid }) => `${pid} ${ASKED}`))
  })

  test('leaves its workers to a master that is not asked yet', () => {
    const order = new StopOrder(TIMES)
    const shell = one(10, { onTerm: 'handles' })
    const master = one(11, { parent: 10, onTerm: 'handles', waits: false })
    const all = [shell, master, one(12, { parent: 11 })]
    expect(steps(order, all, 0)).toEqual([`10 ${ASKED}`])
    expect(steps(order, all, 99)).toEqual([])
    expect(steps(order, all, 100)).toEqual([`11 ${ASKED}`])
    expect(steps(order, all, 499)).toEqual([])
    expect(steps(order, all, 500)).toEqual([`12 ${ASKED}`])
  })

  test('remembers a handler that a process has already used up', () => {
    const order = new StopOrder(TIMES)
    const [trap, once] = [one(10, { onTerm: 'handles' }), one(11, { parent: 10, onTerm: 'handles' })]
    expect(steps(order, [trap, once], 10)).toEqual([`10 ${ASKED}`])
    expect(steps(order, [trap, { ...once, onTerm: 'ends' }], 12)).toEqual([])
    expect(steps(order, [{ ...trap, onTerm: 'ends' }, once], 12)).toEqual([])
  })

  test('signals a process at once when its parent has gone', () => {
    const order = new StopOrder(TIMES)
    const [parent, child] = [one(10, { onTerm: 'handles' }), one(11, { parent: 10, onTerm: 'handles' })]
    steps(order, [parent, child])
    expect(steps(order, [{ ...child, parent: 1 }], 11)).toEqual([`11 ${ASKED}`])
  })

  test('spares what a clean-up starts, but not a process that was noticed late', () => {
    const order = new StopOrder(TIMES)
    const trap = one(10, { onTerm: 'handles' })
    expect(steps(order, [trap], 50)).toEqual([`10 ${ASKED}`])
    const late = one(11, { parent: 10, start: 49 })
    const cleanUp = [one(12, { parent: 10, start: 50 }), one(13, { parent: 12, start: 50, onTerm: 'handles' })]
    expect(steps(order, [trap, late, ...cleanUp], 51)).toEqual([`11 ${ASKED}`])
    expect(steps(order, [trap, ...cleanUp], 1000)).toEqual([])
  })

  describe('what reads the output of another', () => {
    const node = one(11, { parent: 10, onTerm: 'handles', writes: ['a'] })
    const tee = one(12, { parent: 10, reads: 'a', writes: ['b'] })
    const cat = one(13, { parent: 10, reads: 'b' })

    test('ends after it, and is asked once it reads no more', () => {
      const order = new StopOrder(TIMES)
      expect(steps(order, [one(10), node, tee, cat], 10)).toEqual(['10 SIGSTOP', `11 ${ASKED}`])
      expect(steps(order, [one(10), tee, cat], 300)).toEqual([])
      expect(steps(order, [one(10), { ...tee, readBytes: 5 }, cat], 499)).toEqual([])
      expect(steps(order, [one(10), { ...tee, readBytes: 5 }, cat], 698)).toEqual([])
      expect(steps(order, [one(10), { ...tee, readBytes: 5 }, cat], 699)).toEqual([`12 ${ASKED}`])
      expect(steps(order, [one(10), cat], 700)).toEqual([])
      expect(steps(order, [one(10), cat], 900)).toEqual([`13 ${ASKED}`])
    })

    test('is asked after half of the grace, however much it reads of other things', () => {
      const order = new StopOrder(TIMES)
      steps(order, [node, tee], 0)
      const asked = Array.from({ length: 60 }, (_, i) => 10 * i + 10).find(
        (now) => steps(order, [{ ...tee, readBytes: now }], now).length > 0,
      )
      expect(asked).toBe(510)
    })

    test('is asked when only such are left, and read no more', () => {
      const order = new StopOrder(TIMES)
      const ring = [one(12, { reads: 'a', writes: ['b'] }), one(13, { reads: 'b', writes: ['a'] })]
      expect(steps(order, ring, 10)).toEqual([])
      expect(steps(order, ring, 209)).toEqual([])
      expect(steps(order, ring, 210)).toEqual([`12 ${ASKED}`, `13 ${ASKED}`])
    })

    test('may run something for a moment with what it has read, but begins nothing after a longer job', () => {
      const order = new StopOrder(TIMES)
      const date = one(14, { parent: 12, start: 150 })
      expect(steps(order, [one(10), node, tee, date], 200)).toEqual(['10 SIGSTOP', `11 ${ASKED}`])
      expect(steps(order, [one(10), tee, date], 249)).toEqual([])
      expect(steps(order, [one(10), tee, date], 250)).toEqual(['12 SIGSTOP', `14 ${ASKED}`])
      expect(steps(order, [one(10), tee], 260)).toEqual([`12 ${ASKED}`])
    })

    test('is no mere reader when it had nobody to read from, or what it reads comes from below it', () => {
      expect(steps(new StopOrder(TIMES), [tee])).toEqual([`12 ${ASKED}`])
      const below = one(11, { parent: 12, writes: ['a'] })
      expect(steps(new StopOrder(TIMES), [tee, below])).toEqual(['12 SIGSTOP', `11 ${ASKED}`])
    })
  })

  test('hangs up on an interactive shell when its jobs are gone', () => {
    const order = new StopOrder(TIMES)
    const shell = one(10, { onTerm: 'ignores', isShell: true })
    expect(steps(order, [shell, one(11, { parent: 10, onTerm: 'handles' })])).toEqual(['10 SIGSTOP', `11 ${ASKED}`])
    expect(steps(order, [shell])).toEqual(['10 SIGHUP+SIGCONT'])
  })

  test('never suspends a program that ignores SIGTERM', () => {
    const order = new StopOrder(TIMES)
    const deaf = one(10, { onTerm: 'ignores' })
    expect(steps(order, [deaf, one(11, { parent: 10, onTerm: 'ignores' })])).toEqual([`10 ${ASKED}`, `11 ${ASKED}`])
  })

  test('treats a reused pid as a different process', () => {
    const order = new StopOrder(TIMES)
    steps(order, [one(10)])
    expect(steps(order, [one(10, { start: 9 })])).toEqual([`10 ${ASKED}`])
  })
})
