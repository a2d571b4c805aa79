import { LIMITS, longestSessionSeconds } from '@cliscale/contract'
import { describe, expect, test } from '@jest/globals'
import { type KeySecret, rotate, type RotationOptions, type StoredKeys } from './rotation.ts'
import { createSigner, generateSigningKey, kidOf, publicPem, splitPem } from './signer.ts'

const A = await generateSigningKey()
const KID_A = await kidOf(A)
const [PUBLISH, RETIRE] = [840_000, 1_080_000]
const HOUR = 3_600_000

/** A Secret as a cluster keeps it, a clock that only waiting advances, and what readers could see at each time. */
class World implements KeySecret {
  now = Date.parse('2026-01-01T00:00:00.000Z')
  pem: string
  note: string | undefined
  version = 1
  readonly history: { readonly at: number; readonly pem: string }[] = []
  readonly said: string[] = []
  /** Optional; called after each write. */
  onWrite: () => void = () => undefined

  constructor(pem: string) {
    this.pem = pem
    this.history.push({ at: this.now - 24 * HOUR, pem })
  }
  read(): Promise<StoredKeys> {
    return Promise.resolve({ pem: this.pem, note: this.note, version: String(this.version) })
  }
  write({ pem, note, version }: StoredKeys): Promise<boolean> {
    if (version !== String(this.version)) return Promise.resolve(false)
    this.put(pem, note)
    this.onWrite()
    return Promise.resolve(true)
  }
  put(pem: string, note = this.note): void {
    this.version++
    this.pem = pem
    this.note = note
    this.history.push({ at: this.now, pem })
  }
  run(by = 'one', extra: Partial<RotationOptions> = {}): Promise<void> {
    return rotate({
      secret: this,
      publishMs: PUBLISH,
      retireMs: RETIRE,
      by,
      say: (sentence) => void this.said.push(sentence),
      now: () => this.now,
      pause: (ms) => Promise.resolve((this.now += ms)),
      ...extra,
    })
  }
  /** What a reader sees whose file lags by this much. */
  at(time: number): string {
    return this.history.findLast((entry) => entry.at <= time)!.pem
  }
  async kinds(): Promise<string[]> {
    const blocks = splitPem(this.pem)
    return Promise.all(
      blocks.map(async (pem) => `${pem.includes('PUBLIC') ? 'public' : 'private'} ${await kidOf(pem)}`),
    )
  }
}

describe('a rotation', () => {
  test('publishes, signs and retires, each at its time', async () => {
    const world = new World(A)
    const from = world.now
    await world.run()
    const kinds = await world.kinds()
    expect(kinds).toEqual([expect.stringMatching(/^private /), `public ${KID_A}`])
    expect(kinds[0]).not.toContain(KID_A)
    expect(world.now - from).toBe(PUBLISH + RETIRE)
    expect(world.said.at(-1)).toBe('The rotation is complete.')
    expect(world.said.join()).not.toContain('PRIVATE')
  })

  test('breaks no signature: every signer and verifier works, however late its file may be', async () => {
    const world = new World(A)
    const from = world.now
    await world.run()
    const [kubelet, cache, life] = [120_000, 600_000, 300_000]
    const known = new Map<string, string[]>()
    const published = async (pem: string): Promise<string[]> => {
      const kids = known.get(pem) ?? (await createSigner(splitPem(pem))).jwks().keys.map(({ kid }) => kid!)
      known.set(pem, kids)
      return kids
    }
    const step = 30_000
    for (let t = from; t < world.now + HOUR; t += step) {
      for (const late of [0, 60_000, kubelet]) {
        const [kid] = await published(world.at(t - late))
        for (const used of [0, life]) {
          for (const age of [0, cache]) {
            for (const lag of [0, kubelet]) {
              expect(await published(world.at(t + used - age - lag))).toContain(kid)
            }
          }
        }
      }
    }
  }, 60_000)

  test('continues wherever a run was killed, also in another process', async () => {
    for (let crashAt = 1; crashAt <= 3; crashAt++) {
      const world = new World(A)
      let writes = 0
      world.onWrite = () => {
        if (++writes === crashAt) throw new Error('killed')
      }
      const from = world.now
      await expect(world.run()).rejects.toThrow('killed')
      world.onWrite = () => undefined
      // The same pod, restarted, begins no new rotation; nor does another pod while one is under way.
      await world.run(crashAt === 3 ? 'one' : 'two')
      expect(await world.kinds()).toEqual([expect.stringMatching(/^private /), `public ${KID_A}`])
      expect([crashAt, world.now - from]).toEqual([crashAt, PUBLISH + RETIRE])
    }
  })

  test('runs once when two start together, and twice when they start one after another', async () => {
    const world = new World(A)
    await Promise.all([world.run('one'), world.run('two')])
    const kinds = await world.kinds()
    expect(kinds).toEqual([expect.stringMatching(/^private /), `public ${KID_A}`])
    await world.run('three')
    const after = await world.kinds()
    expect(after).toEqual([
      expect.stringMatching(/^private /),
      kinds[0]!.replace('private', 'public'),
      `public ${KID_A}`,
    ])
  })

  test('forgets a retired key when no session can remain that it vouches for', async () => {
    const world = new World(A)
    await world.run('one')
    world.now += 50 * HOUR
    await world.run('two')
    expect((await world.kinds()).join()).not.toContain(KID_A)
    expect(await world.kinds()).toHaveLength(2)
  })

  test('keeps a retired key as long as a session may last that it vouches for', async () => {
    const world = new World(A)
    await world.run('one')
    const queueSeconds = 24 * 3600
    world.now += longestSessionSeconds({ queueSeconds, timeoutSeconds: LIMITS.timeoutSeconds.max }) * 1000 - HOUR
    await world.run('two')
    expect((await world.kinds()).join()).toContain(KID_A)
  })

  test('that an upgrade undid is repeated', async () => {
    const world = new World(A)
    let isOld = true
    world.onWrite = () => {
      // The keys as they were rendered a moment before the new one signed.
      if (isOld && world.history.length === 3) {
        isOld = false
        world.put(world.history[1]!.pem)
      }
    }
    await world.run()
    expect(await world.kinds()).toEqual([expect.stringMatching(/^private /), `public ${KID_A}`])
    const gone = new World(A)
    gone.onWrite = () => {
      if (gone.history.length === 2) gone.put(A)
    }
    await gone.run()
    expect(await gone.kinds()).toEqual([expect.stringMatching(/^private /), `public ${KID_A}`])
  })

  test('treats two keys that somebody put there as a rotation that just began, and waits the full time', async () => {
    const B = await generateSigningKey()
    for (const note of [undefined, 'nonsense', '{"step":"published"}']) {
      const world = new World(`${A}${B}`)
      world.note = note
      const from = world.now
      await world.run()
      expect(await world.kinds()).toEqual([`private ${await kidOf(B)}`, `public ${KID_A}`])
      expect(world.now - from).toBe(PUBLISH + RETIRE)
    }
  })

  test('refuses keys that it cannot have written, and changes nothing', async () => {
    const B = await generateSigningKey()
    const cases: [string, RegExp][] = [
      ['', /no private key/],
      [publicPem(A), /no private key/],
      [`${A}${B}${await generateSigningKey()}`, /3 private keys/],
      [`${A}${B.replace(/MII/, 'xxx')}`, /is not an unencrypted private key/],
    ]
    for (const [pem, message] of cases) {
      const world = new World(pem)
      await expect(world.run()).rejects.toThrow(message)
      expect(world.pem).toBe(pem)
    }
  })

  test('gives up when the Secret keeps changing', async () => {
    const world = new World(A)
    await expect(
      world.run('one', { secret: { read: () => world.read(), write: () => Promise.resolve(false) } }),
    ).rejects.toThrow('keeps being changed')
  })
})
