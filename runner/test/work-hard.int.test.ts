import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { WORK_STOP_SIGNAL } from '@cliscale/contract'
import { findSessionProcesses } from '../src/worker/session-processes.ts'
import { order, runOnce, runOrder, startWork, Typist } from './relay-peer.ts'

describe('a process that a command leaves behind', () => {
  test.each([
    ['a background child that keeps writing', 'while :; do echo tick; done &\nsleep 0.3; exit 6'],
    [
      'a child that left the session and ignores SIGTERM',
      `setsid bash -c 'trap "" TERM HUP; while :; do sleep 0.1; done' & exit 6`,
    ],
    ['a child without our environment that holds the terminal', `env -i setsid sleep 300 & exit 6`],
    ['a stopped child', `sleep 300 & kill -STOP $!; exit 6`],
    ['forty children that fork', `for i in $(seq 40); do (while :; do sleep 0.01; done) & done; exit 6`],
  ])('is ended, and the exit code is exact: %s', async (_, command) => {
    const given = order(command)
    const startedAt = Date.now()
    const { exit } = await runOnce(given)
    expect(exit).toMatchObject({ exitCode: 6, signal: null })
    expect(Date.now() - startedAt).toBeLessThan(8000)
    expect(await findSessionProcesses({ sessionId: given.sessionId })).toEqual([])
  })
})

describe('a terminal that the command left in a bad state', () => {
  test.each([
    ['raw', `stty raw -echo; printf 'a\\nb'; exit 2`, 'a\nb'],
    ['upper case', `stty olcuc; printf 'abc'; exit 2`, 'ABC'],
    ['no output processing', `stty istrip -opost; printf 'x\\ny'; exit 2`, 'x\ny'],
    ['exclusive', `python3 -c 'import fcntl,termios; fcntl.ioctl(0, termios.TIOCEXCL)'; printf z; exit 2`, 'z'],
    [
      'stopped by tcflow',
      `printf before; python3 -c 'import termios; termios.tcflow(0, termios.TCOOFF)'; exit 2`,
      'before',
    ],
  ])('(%s) costs no byte and no exit code', async (_, command, expected) => {
    const { output, exit } = await runOnce(order(command))
    expect(output.toString()).toBe(expected)
    expect(exit.exitCode).toBe(2)
  })

  test('(stopped by Ctrl-S) is resumed at the end, and nothing is lost', async () => {
    let sent = false
    const { output, exit } = await runOnce(order(`printf ready; sleep 1; (echo late &) ; sleep 0.5; exit 2`), {
      onOutput: (_, link) => {
        if (!sent) new Typist(link).type('\x13')
        sent = true
      },
    })
    expect(output.toString().startsWith('ready')).toBe(true)
    expect(exit.exitCode).toBe(2)
  })
})

describe('input', () => {
  test('reaches the command, and Ctrl-C interrupts it', async () => {
    let step = 0
    const { output, exit } = await runOnce(order('read line; echo "got $line"; sleep 100'), {
      onOutput: (all, link) => {
        if (step === 1 && all().includes('got hello')) {
          step = 2
          new Typist(link).type('\x03')
        }
      },
      onRunning: (link) => {
        step = 1
        new Typist(link).type('hello\r')
      },
    })
    expect(output.toString()).toContain('got hello')
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGINT' })
  })
})

describe('a host that is slow', () => {
  test('gets little more of a flood after Ctrl-C: what is in flight is limited by time', async () => {
    await using work = startWork()
    const link = await work.connect()
    link.send({ type: 'prepare', order: order(`bash --norc -c 'trap : INT; yes; echo done'`) })
    let typedAt = Infinity
    let after = 0
    for await (const event of link.events()) {
      if (event.type === 'prepared') link.send({ type: 'go', size: { columns: 80, rows: 24 } })
      if (event.type === 'exit') break
      if (event.type !== 'output') continue
      const end = event.offset + event.bytes.length
      await sleep(event.bytes.length / 1000) // a megabyte a second
      link.send({ type: 'ack', offset: end })
      if (typedAt < Infinity) after += event.bytes.length
      else if (end > 1_000_000) {
        new Typist(link).type('\x03')
        typedAt = end
      }
    }
    expect(after).toBeGreaterThan(0)
    expect(after).toBeLessThan(400_000)
  })
})

describe('a host that does not acknowledge', () => {
  test('makes the program block at 8 MiB, and then gets every byte', async () => {
    await using work = startWork()
    const first = await work.connect()
    first.send({
      type: 'prepare',
      order: order('yes 0123456789abcde | head -c 50000000; echo all > ../written; exit 3'),
    })
    for await (const event of first.events()) {
      if (event.type === 'prepared') first.send({ type: 'go', size: { columns: 80, rows: 24 } })
      if (event.type === 'output') break
    }
    await sleep(1500) // reads nothing, acknowledges nothing
    expect(existsSync(path.join(work.dir, 'written'))).toBe(false)
    expect(rssOf(work.child.pid!)).toBeLessThan(200_000_000)
    const second = await work.connect()
    let offset = 0
    let bad = 0
    for await (const event of second.events()) {
      if (event.type === 'output') {
        expect(event.offset).toBe(offset)
        for (let i = 0; i < event.bytes.length; i += 1000) {
          if (event.bytes[i] !== '0123456789abcde\r\n'.charCodeAt((offset + i) % 17)) bad++
        }
        offset += event.bytes.length
        second.send({ type: 'ack', offset })
      }
      if (event.type === 'exit') {
        expect(event.exit).toMatchObject({ exitCode: 3, offset })
        break
      }
    }
    expect(offset).toBe(53_125_000)
    expect(bad).toBe(0)
    second.send({ type: 'quit' })
    await second.end()
    await work.exited
  }, 60_000)
})

describe('a command that cannot start is reported at once', () => {
  test('in a workspace that does not exist', async () => {
    await using work = startWork()
    const link = await work.connect()
    rmSync(work.workspaceDir, { recursive: true })
    const { exit } = await runOrder(link, order('true'))
    expect(exit).toMatchObject({
      exitCode: null,
      failure: { reason: 'launch_failed', detail: 'The workspace folder does not exist.' },
    })
  })

  test('with an environment larger than the system allows', async () => {
    await using work = startWork()
    const link = await work.connect()
    const { exit } = await runOrder(
      link,
      order('true', { env: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`V${i}`, 'x'.repeat(65_000)])) }),
    )
    expect(exit).toMatchObject({
      exitCode: null,
      failure: { reason: 'launch_failed', detail: expect.stringContaining('larger than the system allows') },
    })
  })
})

describe('the socket', () => {
  test('is for its user and group, replaces a stale one, and accepts only who knows the secret', async () => {
    await using work = startWork()
    const first = await work.connect()
    expect(statSync(work.socketPath).mode & 0o777).toBe(0o660)
    await expect(work.connect(0, 'another-secret-of-nobody')).rejects.toMatchObject({ kind: 'refused' })
    await expect(work.connect(5)).rejects.toMatchObject({ kind: 'refused' })
    first.send({ type: 'prepare', order: order('echo still mine') })
    const next = await first.events()[Symbol.asyncIterator]().next()
    expect(next.value).toEqual({ type: 'prepared' })
  })

  test.each([
    ['garbage', Buffer.alloc(4096, 0xff)],
    ['an empty frame', Buffer.from([0, 0, 0, 0, 0])],
    ['JSON that is none', Buffer.concat([Buffer.from([0, 0, 0, 3, 0]), Buffer.from('{x')])],
    ['an order before hello', Buffer.concat([Buffer.from([0, 0, 0, 14, 0]), Buffer.from('{"type":"go"}')])],
  ])('closes a connection that sends %s, and goes on', async (_, bytes) => {
    await using work = startWork()
    const link = await work.connect()
    const socket = net.connect(work.socketPath)
    socket.on('error', () => {})
    socket.write(bytes)
    socket.resume()
    await new Promise((resolve) => socket.once('close', resolve))
    const { output } = await runOrder(link, order('echo fine'))
    expect(output.toString()).toBe('fine\r\n')
  })

  test('runs the command once when go arrives twice; a second connection of the host replaces the first', async () => {
    await using work = startWork()
    const first = await work.connect()
    first.send({ type: 'prepare', order: order('echo once; sleep 1') })
    first.send({ type: 'go', size: { columns: 80, rows: 24 } })
    first.send({ type: 'go', size: { columns: 80, rows: 24 } })
    await sleep(300)
    const second = await work.connect()
    second.send({ type: 'go', size: { columns: 80, rows: 24 } })
    const { output, exit } = await runOrder(second, order('echo other'))
    expect(output.toString()).toBe('once\r\n')
    expect(exit.exitCode).toBe(0)
  })
})

test('takes the size of the terminal from the host, also later', async () => {
  const { output } = await runOnce(order(`trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.1; done`), {
    onOutput: (_, link) => link.send({ type: 'resize', size: { columns: 77, rows: 33 } }),
  })
  expect(output.toString()).toBe('40 120\r\n33 77\r\n')
})

test('installs by the files that there are', async () => {
  await using work = startWork()
  writeFileSync(
    path.join(work.workspaceDir, 'package.json'),
    JSON.stringify({ name: 'x', version: '1.0.0', scripts: { install: 'touch installed' } }),
  )
  const link = await work.connect()
  const { exit, stages, output } = await runOrder(link, order('ls', { installCmd: null }))
  expect(exit).toMatchObject({ exitCode: 0, phase: 'command' })
  expect(stages.map((stage) => stage.name)).toEqual(['installing', 'running'])
  expect(output.toString()).toMatch(/── installed in \d+\.\d s/)
  expect(output.toString()).toContain('package.json')
}, 60_000)

function rssOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}

describe('a signal to work', () => {
  const traps = `trap 'echo cleaned up; exit 5' TERM; echo up; while :; do sleep 0.05; done`

  test.each([
    ['SIGTERM', 'system'],
    ['SIGINT', 'system'],
    ['SIGQUIT', 'system'],
    ['SIGWINCH', 'system'],
    ['SIGUSR1', 'system'],
    [WORK_STOP_SIGNAL, 'user'],
  ] as const)('(%s) lets the command end, and is told as a stop of the %s', async (signal, stopped) => {
    await using work = startWork()
    const link = await work.connect()
    let isSent = false
    const { exit, output } = await runOrder(link, order(traps), (all) => {
      if (!isSent && all().includes('up\r\n')) isSent = work.child.kill(signal)
    })
    expect(exit).toMatchObject({ exitCode: 5, stopped })
    expect(output.toString()).toContain('cleaned up')
    link.send({ type: 'quit' })
    await link.end()
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)('(%s) ends it before it has a host', async (signal) => {
    await using work = startWork()
    await (await work.connect()).end() // it listens
    work.child.kill(signal)
    expect(await work.exited).toBe(0)
  })
})
