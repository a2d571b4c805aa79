import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { type ControllerDouble, createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'
import { startOf } from '../src/worker/process-list.ts'

const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')
const LINES = 20_000
const NUMBERS = `${Array.from({ length: LINES }, (_, i) => i + 1).join('\r\n')}\r\n`
const COMMAND = `echo ran >> ../ran; seq 1 ${LINES}; exit 3`

/** Kills the host on the first call of a kind, before or after it is carried out. */
function killAt(controller: ControllerDouble, session: HostUnderTest, name: string, when: 'before' | 'after'): void {
  let done = false
  controller.onCall = async (call, body) => {
    if (done || !(name === 'ended' ? call === 'events' && body.includes('"ended"') : call === name)) return
    done = true
    if (when === 'after') {
      const lost = name === 'ended' ? 'events' : name
      controller.loseAnswers.set(lost, 1)
      setTimeout(() => void session.restartHost(), 50)
      return
    }
    await session.restartHost()
    throw new Error('the caller is dead')
  }
}

async function expectOneExactRun(controller: ControllerDouble, session: HostUnderTest): Promise<void> {
  expect(await controller.ended()).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exitCode: 3 })
  expect(await session.hostExit()).toBe(0)
  await session.workExit()
  expect(readFileSync(path.join(session.dir, 'ran'), 'utf8')).toBe('ran\n')
  expect(sha(controller.output)).toBe(sha(NUMBERS))
  expect(await session.leftovers()).toEqual([])
}

describe('a host that is killed', () => {
  test.each([
    ['before the claim is carried out', 'claim', 'before'],
    ['between the claim and its answer', 'claim', 'after'],
    ['after the claim, as it opens the control stream', 'control', 'before'],
    ['between prepare and started', 'started', 'before'],
    ['between started and go', 'started', 'after'],
    ['as it reports output', 'output', 'before'],
    ['after output was taken, before the answer', 'output', 'after'],
    ['after the exit, before it is reported', 'ended', 'before'],
  ] as const)('%s is replaced: one run, every byte, the exact code', async (_, call, when) => {
    await using controller = await createControllerDouble({ command: COMMAND })
    await using session = new HostUnderTest(controller)
    killAt(controller, session, call, when)
    session.start()
    await expectOneExactRun(controller, session)
  })

  test('five times while output flows loses no byte', async () => {
    const command = `for i in $(seq 1 60); do seq $i 60000 | head -2000; sleep 0.05; done; exit 3`
    await using controller = await createControllerDouble({ command })
    await using session = new HostUnderTest(controller).start()
    for (let kill = 0; kill < 5; kill++) {
      await sleep(900)
      await session.restartHost()
    }
    expect(await controller.ended()).toMatchObject({ exitCode: 3 })
    const expected = Array.from({ length: 60 }, (_, i) =>
      Array.from({ length: 2000 }, (_, line) => `${i + 1 + line}\r\n`).join(''),
    ).join('')
    expect(sha(controller.output)).toBe(sha(expected))
    expect(await session.hostExit()).toBe(0)
  }, 60_000)

  test('keeps the time limit that began with the command', async () => {
    await using controller = await createControllerDouble({ command: 'sleep 60' })
    controller.timeoutSeconds = 4
    await using session = new HostUnderTest(controller).start()
    await controller.event('running')
    await sleep(2500)
    await session.restartHost()
    const ended = await controller.ended()
    expect(ended).toMatchObject({ status: 'expired', reason: 'deadline' })
    const running = await controller.event('running')
    const tookMs = Date.parse(ended.at) - Date.parse(running.at)
    expect(tookMs).toBeGreaterThanOrEqual(3900)
    expect(tookMs).toBeLessThan(6500)
  })

  test.each([
    ['stands still', 'SIGSTOP'],
    ['is gone', 'SIGKILL'],
  ] as const)(
    'or %s does not keep a command beyond its timeout: work ends it, and the next life tells why',
    async (_, signal) => {
      const command = `trap 'echo bye; exit 5' TERM; echo $$ >../pid; echo up; while :; do sleep 0.1; done`
      await using controller = await createControllerDouble({ command })
      controller.timeoutSeconds = 2
      await using session = new HostUnderTest(controller).start()
      await controller.outputHas('up')
      session.host!.kill(signal)
      const pid = Number(readFileSync(path.join(session.dir, 'pid'), 'utf8'))
      for (const until = Date.now() + 8000; startOf(pid) !== undefined && Date.now() < until;) await sleep(50)
      expect(startOf(pid)).toBeUndefined()
      if (signal === 'SIGSTOP') session.host!.kill('SIGCONT')
      else session.startHost()
      expect(await controller.ended()).toMatchObject({ status: 'expired', reason: 'deadline', exitCode: 5 })
      // bash may say between them that its sleep was terminated.
      expect(controller.output.toString()).toMatch(/^up\r\n(Terminated\r\n)?bye\r\n$/)
      expect(await session.hostExit()).toBe(0)
    },
  )

  test('for good makes the command block without loss: 20 MB wait for the next host', async () => {
    await using controller = await createControllerDouble({
      command: 'sleep 1; yes 0123456789abcde | head -c 20000000',
    })
    await using session = new HostUnderTest(controller).start()
    await controller.event('running')
    await session.killHost()
    await sleep(3000)
    session.startHost()
    await controller.ended(60_000)
    expect(sha(controller.output)).toBe(sha('0123456789abcde\r\n'.repeat(1_250_000)))
  }, 90_000)
})

test('a host whose event loop stands still ends itself, and no later life falls into what did it', async () => {
  const command = 'echo before; printf HANG; until [ -e ../go ]; do sleep 0.1; done; exit 7'
  await using controller = await createControllerDouble({ command })
  await using session = new HostUnderTest(controller)
  const sign = path.join(session.dir, 'hung')
  const preload = path.join(import.meta.dirname, 'host-programs/hang-at-text.mjs')
  const hanging = { NODE_OPTIONS: `--import=${preload}`, HANG_SIGN: sign }
  const hangs = async (): Promise<void> => {
    for (const until = Date.now() + 20_000; !existsSync(sign); await sleep(20)) {
      if (Date.now() > until) throw new Error('the host does not hang')
    }
    rmSync(sign)
  }
  session.startWork()
  const first = session.startHost(hanging)
  await hangs()
  expect(await session.hostExit(60_000)).toBe(null)
  expect(first.signalCode).toBe('SIGALRM')
  expect(session.log('host')).toContain('the event loop stood still for 15 s')
  // It may hang at once: there was no sign of life that the watch could miss, and so it is left to whoever started it.
  session.startHost(hanging)
  await hangs()
  await session.killHost()
  session.startHost(hanging)
  await controller.outputHas('HANG')
  writeFileSync(path.join(session.dir, 'go'), '')
  expect(await controller.ended()).toMatchObject({ status: 'failed', exitCode: 7 })
  expect(await session.hostExit()).toBe(0)
  expect(controller.output.toString()).toBe('before\r\nHANG')
  expect(existsSync(sign)).toBe(false)
}, 120_000)

describe('work that is killed', () => {
  test('while the command runs ends the session as lost, and leaves nothing of it', async () => {
    await using controller = await createControllerDouble({
      command: 'echo begun; setsid sleep 100 & trap "" HUP; sleep 100',
    })
    await using session = new HostUnderTest(controller).start()
    await controller.event('running')
    await controller.outputHas('begun')
    session.work!.kill('SIGKILL')
    expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost', exitCode: null })
    expect(await session.hostExit()).toBe(0)
    expect(await session.leftovers()).toEqual([])
    expect(controller.output.toString()).toBe('begun\r\n')
  })

  test('together with the host ends the session as lost, and the command does not run again', async () => {
    await using controller = await createControllerDouble({ command: 'echo ran >> ../ran; echo begun; sleep 100' })
    await using session = new HostUnderTest(controller).start()
    await controller.outputHas('begun')
    await session.killHost()
    session.work!.kill('SIGKILL')
    await session.workExit()
    session.startWork() // a fresh one that knows nothing
    session.startHost()
    expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost' })
    expect(readFileSync(path.join(session.dir, 'ran'), 'utf8')).toBe('ran\n')
  })
})
