import { MAX_OUTPUT_REPORT_BYTES, OUTPUT_HEADERS, type SessionEvent } from '@cliscale/contract'
import { createLogger } from '@cliscale/service-kit'
import { expect, test } from '@jest/globals'
import type { Answer, Call } from './controller-client.ts'
import { Reporter } from './reporter.ts'

const SIZE = { columns: 80, rows: 24 }
const ENDED = { type: 'ended', at: '2026-01-01T00:00:00.000Z', status: 'succeeded', exitCode: 0 } as SessionEvent

/** Reports three full parts of output and an end to a controller that refuses what begins at some offsets. */
async function report(refuses: (offset: number) => number | undefined, has = 0): Promise<string[]> {
  const calls: string[] = []
  const head = 3 * MAX_OUTPUT_REPORT_BYTES
  const stop = new AbortController()
  let kept = has
  const take = (call: Call): Answer => {
    if (call.path.endsWith('events')) return { status: 204, text: '' }
    const offset = Number(Object.values(call.headers!)[0])
    const refused = refuses(offset)
    if (refused !== undefined) return { status: refused, text: '' }
    // Like the real controller: output that would leave a gap is not taken.
    if (offset <= kept) kept = Math.max(kept, offset + call.bytes!.length)
    return { status: 200, text: JSON.stringify({ next: kept }) }
  }
  const reporter = new Reporter({
    client: {
      call: async (call) => {
        const part = Number(Object.values(call.headers ?? {})[0] ?? NaN) / MAX_OUTPUT_REPORT_BYTES
        const isTimed = call.headers?.[OUTPUT_HEADERS.times] === `0:${part * 1000},9:5000`
        calls.push(Number.isNaN(part) ? 'end' : `part ${part}${isTimed ? '' : ' without its times'}`)
        if (calls.length === 50) stop.abort()
        stop.signal.throwIfAborted()
        return take(call)
      },
    },
    sessionId: 'a',
    credential: () => 'secret',
    renewCredential: async () => true,
    terminal: {
      head,
      ended: { exitCode: 0 } as never,
      readOutput: async (offset, max) => ({
        offset,
        bytes: new Uint8Array(Math.min(max, head - offset)),
        size: SIZE,
        times: [
          [0, (offset / MAX_OUTPUT_REPORT_BYTES) * 1000],
          [9, 5000],
        ],
      }),
    },
    events: [ENDED],
    logger: createLogger({ service: 'test', level: 'silent' }),
    signal: stop.signal,
  })
  await reporter.finished
  return calls
}

test.each([400, 413])(
  'reports the end after output that the controller refuses with %i and asks for again',
  async (status) => {
    expect(await report((offset) => (offset === 0 ? status : undefined))).toEqual(['part 0', 'part 1', 'end'])
    const second = await report((offset) => (offset === MAX_OUTPUT_REPORT_BYTES ? status : undefined))
    expect(second).toEqual(['part 0', 'part 1', 'part 2', 'end'])
  },
)

test('reports the end after the controller refuses the last part, or all parts', async () => {
  const last = await report((offset) => (offset === 2 * MAX_OUTPUT_REPORT_BYTES ? 400 : undefined))
  expect(last).toEqual(['part 0', 'part 1', 'part 2', 'end'])
  expect(await report(() => 400)).toEqual(['part 0', 'part 1', 'part 2', 'end'])
})

test('reports everything despite a refused part that the controller already has', async () => {
  const calls = await report((offset) => (offset === 0 ? 400 : undefined), MAX_OUTPUT_REPORT_BYTES)
  expect(calls).toEqual(['part 0', 'part 1', 'part 2', 'end'])
})

test('sends output before the end, in order', async () => {
  expect(await report(() => undefined)).toEqual(['part 0', 'part 1', 'part 2', 'end'])
})
