import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Launched, Launcher, LaunchRequest } from '../src/launch/launcher.ts'

/** One implementation under test, and how to look at it and at what it started from outside. */
export interface LauncherUnderTest {
  readonly launcher: Launcher
  /** A second launcher over the same system, as after a crash of the first, which is not used any more. */
  restart(): Promise<Launcher>
  /** The identity that the session's host was given. */
  tokenOf(sessionId: string): Promise<string>
  /** How many processes or containers of the session run. */
  countRunning(sessionId: string): Promise<number>
  /** Makes the session's host end with this exit code, or by SIGKILL. */
  endHost(sessionId: string, how: number | 'SIGKILL'): Promise<void>
  /** Removes everything. */
  dispose(): Promise<void>
}

/** Waits until `probe` gives something else than undefined or false. */
export async function expectEventually<T>(probe: () => Promise<T | undefined | false>, limitMs = 20_000): Promise<T> {
  const until = Date.now() + limitMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (Date.now() > until) throw new Error(`not within ${limitMs} ms`)
    await sleep(25)
  }
}

/** A request to launch a session as most are. */
export function request(sessionId: string): LaunchRequest {
  return { sessionId, timeoutSeconds: 3600 }
}

/** What every Launcher promises (src/launch/launcher.ts). */
export function describeLauncher(name: string, create: () => Promise<LauncherUnderTest>): void {
  describe(`the launcher contract: ${name}`, () => {
    let system: LauncherUnderTest
    let launcher: Launcher
    const find = async (id: string): Promise<Launched | undefined> =>
      (await launcher.list()).find((entry) => entry.sessionId === id)
    const address = (id: string) => expectEventually(async () => (await find(id))?.address)

    beforeEach(async () => {
      system = await create()
      launcher = system.launcher
    })
    afterEach(() => system.dispose())

    test('a launched session is listed at once, with an address once it listens', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      expect(await find(id)).toMatchObject({ sessionId: id })
      expect(await address(id)).toEqual({ host: expect.stringMatching(/^[\d.:]+$/), port: expect.any(Number) })
    })

    test('calls that meet launch one session once', async () => {
      const id = randomUUID()
      await Promise.all([launcher.launch(request(id)), launcher.launch(request(id)), launcher.launch(request(id))])
      const first = await find(id)
      await address(id)
      const running = await system.countRunning(id)
      await launcher.launch(request(id))
      expect((await launcher.list()).filter((entry) => entry.sessionId === id)).toHaveLength(1)
      expect((await find(id))?.podUid).toBe(first?.podUid)
      expect(await system.countRunning(id)).toBe(running)
    })

    test('an identity names its launch and nothing else does', async () => {
      const [id, other] = [randomUUID(), randomUUID()]
      await Promise.all([launcher.launch(request(id)), launcher.launch(request(other))])
      const token = await system.tokenOf(id)
      expect(await launcher.identify(token)).toMatchObject({ sessionId: id, podUid: (await find(id))?.podUid })
      expect((await launcher.identify(await system.tokenOf(other)))?.sessionId).toBe(other)
      const flipped = token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')
      for (const wrong of ['', 'x', flipped, token.replace(id, other), id, `${token}A`]) {
        expect(await launcher.identify(wrong)).toBeUndefined()
      }
    })

    test('remove leaves nothing, may be repeated, and ends the identity', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      const token = await system.tokenOf(id)
      await Promise.all([launcher.remove(id), launcher.remove(id)])
      await expectEventually(async () => (await system.countRunning(id)) === 0)
      expect(await find(id)).toBeUndefined()
      expect(await launcher.identify(token)).toBeUndefined()
      await launcher.remove(id)
      await launcher.remove(randomUUID())
    })

    test('remove with another pod uid leaves the launch alone', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await launcher.remove(id, randomUUID())
      expect(await find(id)).toBeDefined()
      await launcher.remove(id, (await find(id))!.podUid)
      expect(await find(id)).toBeUndefined()
    })

    test('a session that was removed can be launched again, as another launch', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      const first = await find(id)
      const removal = launcher.remove(id)
      await launcher.launch(request(id)).catch(() => removal.then(() => launcher.launch(request(id))))
      await removal
      expect((await find(id))?.podUid).not.toBe(first?.podUid)
      expect(await address(id)).toBeDefined()
    })

    test('a host that is killed comes back under the same launch', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      const before = await find(id)
      await system.endHost(id, 'SIGKILL')
      await expectEventually(async () => {
        const now = await find(id)
        expect(now?.podUid).toBe(before?.podUid)
        return now?.address !== undefined && now.address.port !== before?.address?.port
      })
    })

    test('a host that fails comes back; one that ends with 0 has its launch cleared away', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      let changes = 0
      launcher.onChange(() => changes++)
      await system.endHost(id, 3)
      await expectEventually(async () => (await find(id))?.address === undefined)
      await address(id)
      expect(changes).toBeGreaterThan(0)
      await system.endHost(id, 0)
      await expectEventually(async () => (await find(id)) === undefined)
      await expectEventually(async () => (await system.countRunning(id)) === 0)
    })

    test('another launcher finds what runs, and ends it', async () => {
      const ids = [randomUUID(), randomUUID(), randomUUID()]
      await Promise.all(ids.map((id) => launcher.launch(request(id))))
      const addresses = await Promise.all(ids.map(address))
      const before = await launcher.list()
      const token = await system.tokenOf(ids[0]!)
      await launcher.close()
      launcher = await system.restart()
      expect(await Promise.all(ids.map(address))).toEqual(addresses)
      expect(new Set((await launcher.list()).map((entry) => entry.podUid))).toEqual(
        new Set(before.map((entry) => entry.podUid)),
      )
      expect((await launcher.identify(token))?.sessionId).toBe(ids[0])
      await Promise.all(ids.map((id) => launcher.remove(id)))
      for (const id of ids) await expectEventually(async () => (await system.countRunning(id)) === 0)
    })
  })
}
