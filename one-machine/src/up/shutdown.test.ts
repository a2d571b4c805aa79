import { describe, expect, test } from '@jest/globals'
import { createPrinter } from './printer.ts'
import { Shutdown } from './shutdown.ts'

function scene() {
  const events: string[] = []
  let now = 0
  const shutdown = new Shutdown({ exit: (code) => events.push(`exit ${code}`), now: () => now })
  const printer = createPrinter({ write: () => {} })
  const add = (name: string, run: () => Promise<void> = () => Promise.resolve()): void =>
    shutdown.add({
      name,
      run: () => run().finally(() => events.push(`end ${name}`)),
      kill: () => void events.push(`kill ${name}`),
    })
  return { events, shutdown, printer, add, tick: (ms: number) => (now += ms) }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('Shutdown', () => {
  test('ends what was started in reverse order, even when one part fails to end', async () => {
    const { events, shutdown, printer, add } = scene()
    add('database')
    add('server', () => Promise.reject(new Error('it would not')))
    await shutdown.run(printer)
    expect(events).toEqual(['end server', 'end database'])
  })

  test('treats two signals within half a second as one, because npm forwards what the terminal already sent', () => {
    const { events, shutdown, add, tick } = scene()
    add('server')
    shutdown.request()
    tick(400)
    shutdown.request()
    expect(events).toEqual([])
    expect(shutdown.isRequested).toBe(true)
  })

  test('kills everything and exits with 130 when it is asked again', async () => {
    const { events, shutdown, add, tick } = scene()
    add('database')
    add('server')
    shutdown.request()
    tick(600)
    shutdown.request()
    await settled()
    expect(events).toEqual(['kill server', 'kill database', 'exit 130'])
  })

  test('stops a start before its next step', async () => {
    const { shutdown } = scene()
    shutdown.throwIfRequested()
    shutdown.request()
    await shutdown.requested
    expect(() => shutdown.throwIfRequested()).toThrow('no longer wanted')
  })
})
