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
  /** What is another after the session's host was started again; undefined while it does not run. */
  hostGeneration(sessionId: string): Promise<string | undefined>
  /** Makes the session's host end with this exit code, or by SIGKILL. With 0 it has done its work, and says so. */
  endHost(sessionId: string, how: number | 'SIGKILL'): Promise<void>
  /** Removes everything. */
  dispose(): Promise<void>
}

/** On a cluster everything takes longer, and the more the busier it is. */
const LIMIT_MS = process.env['E2E_KUBECONFIG'] ? 60_000 : 20_000

/** Waits until `probe` gives something else than undefined or false. */
export async function expectEventually<T>(probe: () => Promise<T | undefined | false>, limitMs = LIMIT_MS): Promise<T> {
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
    /** A launch may be recorded before any part of it exists. */
    const named = (id: string) =>
      expectEventually(async () => {
        const found = await find(id)
        return found?.launchId === undefined ? undefined : { ...found, launchId: found.launchId }
      })

    beforeEach(async () => {
      system = await create()
      launcher = system.launcher
    })
    afterEach(() => system.dispose())

    test('a launched session is listed at once, and has an address once it listens', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      expect(await find(id)).toMatchObject({ sessionId: id })
      expect(await address(id)).toEqual({ host: expect.stringMatching(/^[\d.:]+$/), port: expect.any(Number) })
    })

    test('simultaneous calls launch one session once', async () => {
      const id = randomUUID()
      await Promise.all([launcher.launch(request(id)), launcher.launch(request(id)), launcher.launch(request(id))])
      const first = await named(id)
      // A host has an address before its work runs, and work runs programs of its own before the command.
      const settled = async (): Promise<number | false> => {
        const count = await system.countRunning(id)
        await sleep(500)
        return count >= 2 && count === (await system.countRunning(id)) && count
      }
      const running = await expectEventually(settled)
      await launcher.launch(request(id))
      expect((await launcher.list()).filter((entry) => entry.sessionId === id)).toHaveLength(1)
      expect((await find(id))?.launchId).toBe(first.launchId)
      expect(await expectEventually(settled)).toBe(running)
    })

    test('an identity names its own launch, and no other text names one', async () => {
      const [id, other] = [randomUUID(), randomUUID()]
      await Promise.all([launcher.launch(request(id)), launcher.launch(request(other))])
      const token = await system.tokenOf(id)
      expect(await launcher.identify(token)).toMatchObject({ sessionId: id, launchId: (await named(id)).launchId })
      expect((await launcher.identify(await system.tokenOf(other)))?.sessionId).toBe(other)
      // Not the last character: only some of its bits belong to the signature.
      const flipped = token.slice(0, -9) + (token.at(-9) === 'A' ? 'B' : 'A') + token.slice(-8)
      const others = token.includes(id) ? [token.replace(id, other)] : []
      for (const wrong of ['', 'x', flipped, ...others, id, `${token}A`]) {
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

    test('remove with the id of another launch leaves this one alone', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      const { launchId } = await named(id)
      await launcher.remove(id, randomUUID())
      expect((await find(id))?.launchId).toBe(launchId)
      await launcher.remove(id, launchId)
      expect(await find(id)).toBeUndefined()
      await expectEventually(async () => (await system.countRunning(id)) === 0)
    })

    test('a removed session can be launched again, as another launch', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      const first = await named(id)
      const removal = launcher.remove(id)
      await launcher.launch(request(id)).catch(() => removal.then(() => launcher.launch(request(id))))
      await removal
      expect((await named(id)).launchId).not.toBe(first.launchId)
      expect(await address(id)).toBeDefined()
      expect((await launcher.list()).filter((entry) => entry.sessionId === id)).toHaveLength(1)
    })

    test('a host that is killed starts again within the same launch', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      const before = await named(id)
      const generation = await system.hostGeneration(id)
      await system.endHost(id, 'SIGKILL')
      await expectEventually(async () => {
        const now = await system.hostGeneration(id)
        expect((await find(id))?.launchId).toBe(before.launchId)
        return now !== undefined && now !== generation
      })
      await address(id)
      expect((await find(id))?.launchId).toBe(before.launchId)
    })

    test('a host that fails starts again; the launch of one that ends with 0 is removed', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      let changes = 0
      launcher.onChange(() => changes++)
      const generation = await system.hostGeneration(id)
      await system.endHost(id, 3)
      await expectEventually(async () => {
        const now = await system.hostGeneration(id)
        return now !== undefined && now !== generation
      })
      await address(id)
      await expectEventually(async () => changes > 0)
      await system.endHost(id, 0)
      const isOver = ({ progress, sessionId }: Launched) => sessionId === id && progress === 'ended'
      await expectEventually(async () => {
        const left = (await launcher.list()).filter((entry) => entry.sessionId === id)
        return left.every(isOver)
      })
      await expectEventually(async () => (await system.countRunning(id)) === 0)
      await launcher.remove(id)
      expect(await find(id)).toBeUndefined()
    })

    test('a launch that ended can be made again, as another launch', async () => {
      const id = randomUUID()
      await launcher.launch(request(id))
      await address(id)
      const { launchId } = await named(id)
      await system.endHost(id, 0)
      await expectEventually(async () => {
        const now = await find(id)
        return now === undefined || now.progress === 'ended'
      })
      await expectEventually(async () =>
        launcher.launch(request(id)).then(
          () => true,
          (err: Error) => {
            if (err.name !== 'LauncherUnavailable') throw err
            return false
          },
        ),
      )
      await expectEventually(async () => {
        const running = (await launcher.list()).find((entry) => entry.sessionId === id && entry.address !== undefined)
        return running !== undefined && running.launchId !== launchId
      })
    })

    test('after refresh the list is no older than the call, and simultaneous calls are served together', async () => {
      const id = randomUUID()
      const another = await system.restart()
      await another.launch(request(id))
      await Promise.all([another.refresh(), another.refresh(), another.refresh()])
      expect((await another.list()).map((entry) => entry.sessionId)).toContain(id)
    })

    test('another launcher finds what runs, and ends it', async () => {
      const ids = [randomUUID(), randomUUID(), randomUUID()]
      await Promise.all(ids.map((id) => launcher.launch(request(id))))
      const addresses = await Promise.all(ids.map(address))
      await Promise.all(ids.map(named))
      const before = await launcher.list()
      const token = await system.tokenOf(ids[0]!)
      await launcher.close()
      launcher = await system.restart()
      expect(await Promise.all(ids.map(address))).toEqual(addresses)
      expect(new Set((await launcher.list()).map((entry) => entry.launchId))).toEqual(
        new Set(before.map((entry) => entry.launchId)),
      )
      expect((await launcher.identify(token))?.sessionId).toBe(ids[0])
      await Promise.all(ids.map((id) => launcher.remove(id)))
      for (const id of ids) await expectEventually(async () => (await system.countRunning(id)) === 0)
    })
  })
}
