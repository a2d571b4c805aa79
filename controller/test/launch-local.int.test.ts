import { randomUUID } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { describeLauncher, expectEventually, request } from './launch-contract.ts'
import { createLocalSystem } from './launch-local-system.ts'

describeLauncher('processes on this machine', () => createLocalSystem())

test('a restarted host has no address until it listens again, and then another port', async () => {
  const system = await createLocalSystem()
  try {
    const id = randomUUID()
    await system.launcher.launch(request(id))
    const address = async () => (await system.launcher.list())[0]?.address
    const before = await expectEventually(address)
    await system.endHost(id, 3)
    await expectEventually(async () => (await address()) === undefined)
    expect((await expectEventually(address)).port).not.toBe(before.port)
    await system.endHost(id, 0)
    await expectEventually(async () => (await system.launcher.list()).length === 0)
  } finally {
    await system.dispose()
  }
})
