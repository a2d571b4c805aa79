import { expect, test } from '@jest/globals'
import { replay, type ReplayOptions } from './replay.ts'

test('a client that leaves before its first message is awaited is not waited for', async () => {
  const options = {
    client: { readWith: () => {} },
    helloMs: 60_000,
    signal: AbortSignal.abort(new Error('it has gone')),
  } as unknown as ReplayOptions
  await expect(replay(options)).rejects.toThrow('it has gone')
}, 5_000)
