import { afterAll, beforeAll, expect, test } from '@jest/globals'
import WebSocket from 'ws'
import { ALL, Fleet } from '../src/fleet.ts'
import { type Split, startSplit } from '../src/split.ts'

const TOKENS = 300
const OFFERS = 20

let split: Split
beforeAll(async () => {
  split = await startSplit(2)
})
afterAll(async () => {
  await split[Symbol.asyncDispose]()
})

test('kill -9 of the controller: all sessions go on, and can be attached to again within 10 s', async () => {
  const fleet = await Fleet.start(split.api, split.dir)
  await fleet.untilRunning()
  await split.controller.kill()
  await split.controller.start()
  await fleet.attachAll(10_000, split.gateways[0]!.base)
  expect(await fleet.outcome()).toEqual(ALL)
})

test('kill -9 of a gateway: all sessions go on, and can be attached to again within 10 s, also through the other', async () => {
  const fleet = await Fleet.start(split.api, split.dir)
  await fleet.untilRunning()
  await fleet.attachAll(10_000, split.gateways[0]!.base)
  await split.gateways[0]!.kill()
  await fleet.attachAll(10_000, split.gateways[1]!.base)
  await split.gateways[0]!.start()
  await fleet.attachAll(10_000, split.gateways[0]!.base)
  expect(await fleet.outcome()).toEqual(ALL)
})

test(`${TOKENS} tokens, each offered by ${OFFERS} connections at once to two gateways: each is accepted once`, async () => {
  const session = await split.api.create({ command: 'sleep 300' })
  const accepted: number[] = []
  const refusals = new Set<number>()
  for (let done = 0; done < TOKENS; done += 10) {
    const tokens = await Promise.all(Array.from({ length: 10 }, () => split.api.token(session.sessionId)))
    const counts = tokens.map(async ({ sessionJWT }) => {
      const offers = await Promise.all(
        Array.from({ length: OFFERS }, (_, i) => offer(split.gateways[i % 2]!.base, session.sessionId, sessionJWT)),
      )
      for (const status of offers) if (status !== 101) refusals.add(status)
      return offers.filter((status) => status === 101).length
    })
    accepted.push(...(await Promise.all(counts)))
  }
  expect(accepted).toEqual(Array.from({ length: TOKENS }, () => 1))
  expect([...refusals]).toEqual([401])
  await split.api.stop(session.sessionId)
})

/** Offers a token and leaves; returns the status of the answer. */
function offer(base: string, sessionId: string, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${base.replace('http', 'ws')}/ws/${sessionId}?token=${token}`, ['cliscale.v1'])
    socket.once('open', () => {
      resolve(101)
      socket.terminate()
    })
    socket.once('unexpected-response', (request, response) => {
      resolve(response.statusCode ?? 0)
      request.destroy()
    })
    socket.once('error', reject)
  })
}
