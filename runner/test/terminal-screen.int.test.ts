import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { DEFAULT_SIZE } from '@cliscale/contract'
import type { SessionTerminal } from '../src/host/terminal-types.ts'
import { TestViewer } from './terminal-client.ts'
import { TestEmulator } from './terminal-emulator.ts'
import { EXIT_OK, eventually, openFixture, V1 } from './terminal-fixture.ts'

/** Little is replayed here, so that a few lines suffice for a late viewer to get a snapshot. */
const SHORT = { limits: { replayBytes: 64 * 1024 } }

function longOutput(lines: number): Buffer {
  const text: string[] = []
  for (let i = 0; i < lines; i++)
    text.push(`\x1b[${31 + (i % 6)}m${i}\x1b[0m ${'='.repeat(i % 90)} \x1b[1m漢字\x1b[22m é 👩‍💻 end of line ${i}\r\n`)
  return Buffer.from(text.join(''))
}

async function append(terminal: SessionTerminal, bytes: Uint8Array, step = 64 * 1024): Promise<void> {
  for (let at = 0; at < bytes.length; at += step) {
    terminal.appendWork(terminal.workOffset, bytes.subarray(at, at + step))
    await terminal.ready()
  }
}

/** A late viewer's terminal once it has everything, and the snapshot's offset. */
async function latePicture(
  terminal: SessionTerminal,
): Promise<{ picture: unknown; snapshots: number; answers: string[] }> {
  using emulator = new TestEmulator(DEFAULT_SIZE)
  await using v = await new TestViewer({
    port: terminal.port,
    protocols: V1,
    assertion: 'ro-late',
    onMessage: (m) => emulator.take(m),
  }).open({})
  const head = terminal.head
  await v.until(() => v.position >= head, 'the head')
  await emulator.settled()
  const snapshots = v.messages.filter((m) => m.type === 'snapshot').length
  return { picture: emulator.picture(), snapshots, answers: emulator.answers }
}

async function localPicture(...parts: (Uint8Array | string)[]): Promise<unknown> {
  using emulator = new TestEmulator(DEFAULT_SIZE)
  for (const part of parts) emulator.write(part)
  await emulator.settled()
  return emulator.picture()
}

describe('a late viewer', () => {
  test('sees what a terminal shows that was there from the start', async () => {
    await using f = await openFixture()
    const output = longOutput(60_000)
    await append(f.terminal, output)
    const late = await latePicture(f.terminal)
    expect(late.snapshots).toBe(1)
    expect(late.picture).toEqual(await localPicture(output))
  })

  const STATES: Readonly<Record<string, string>> = {
    'a full-screen program with mouse, paste mode and a hidden cursor':
      '\x1b]0;vim\x07\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1002h\x1b[?1006h\x1b[?25l\x1b[2J\x1b[5;10Hhello\x1b[7m status \x1b[0m\x1b[12;3H',
    'any-motion mouse and a bar cursor': '\x1b[?1003h\x1b[6 qprompt> ',
    'plain mouse and a steady block': '\x1b[?1000h\x1b[2 q',
    'a scroll region with the cursor in it': '\x1b[2J\x1b[5;20r\x1b[10;4Hinside',
    'a scroll region in origin mode': '\x1b[2J\x1b[5;20r\x1b[?6h\x1b[3;4Hinside',
    'line drawing characters': '\x1b(0lqqk\r\n',
    'colours that go on': '\x1b[1;7;32mgreen ',
    'characters new in Unicode 16, families, tones, flags, keys and hearts, side by side and at the edge':
      '🥲\u{1fae9}👨‍👩‍👧👍🏽🇩🇪🇫🇷1️⃣❤️❤e\u0301漢\u1112\u1161\u11abकि|\r\n' +
      `${'x'.repeat(119)}❤️👨‍👩‍👧\r\n${'x'.repeat(119)}🇩🇪\r\n${'🇩🇪❤️'.repeat(40)}`,
    'underlines of all kinds, and those that go on':
      '\x1b[4mone\x1b[4:2m two\x1b[4:3;58;2;255;0;1m red waves\x1b[38;5;9m red text\x1b[24m none\x1b[4m line\x1b[0m\r\n' +
      '\x1b[4:4;58;5;12mdots\x1b[m plain \x1b[1;3;7;9;53;48;5;3;4:5;58;5;200mdashes 漢字\x1b[0;4mline\x1b[0m\x1b[5X\x1b[5C|\r\n' +
      '\x1b[21;58;2;1;2;3mand on\x1b[24m ',
    'links with and without an id, over lines, with other colours inside, and one that goes on':
      '\x1b]8;;https://a.example/?q=1;2\x1b\\link\x1b]8;;\x1b\\ \x1b[4:3;31m\x1b]8;id=x;http://b.example\x07red\x1b[32;58;5;3m green\x1b[0m 漢\x1b]8;;\x07\r\n' +
      `\x1b]8;id=y;http://c.example\x07${'over lines '.repeat(20)}\x1b]8;;\x07\r\n\x1b]8;;http://d.example\x07goes\x1b[2Con`,
    'flags and tones that were printed apart':
      '🇩🇪\x1b[5;5H🇩\x1b[5;6H🇪\x1b[6;1H👍\x1b[6;3H🏽x\x1b[7;1H👩\u200d\x1b[7;3H🚀|',
    'a line that ends at the last column': 'x'.repeat(120),
  }
  for (const [name, state] of Object.entries(STATES)) {
    test(`gets back ${name}`, async () => {
      await using f = await openFixture(SHORT)
      const output = Buffer.concat([longOutput(1_500), Buffer.from(state)])
      const after = 'qqq after\r\nnext line\x1b[1;1Hx'
      await append(f.terminal, output)
      const late = await latePicture(f.terminal)
      expect(late.snapshots).toBe(1)
      expect(late.picture).toEqual(await localPicture(output))
      using emulator = new TestEmulator(DEFAULT_SIZE)
      await using v = await new TestViewer({
        port: f.terminal.port,
        protocols: V1,
        assertion: 'ro-b',
        onMessage: (m) => emulator.take(m),
      }).open({})
      await v.until(() => v.position === f.terminal.head, 'the head')
      await append(f.terminal, Buffer.from(after))
      await v.until(() => v.position === f.terminal.head, 'what follows')
      await emulator.settled()
      expect(emulator.picture()).toEqual(await localPicture(output, after))
    })
  }

  const CUTS = [
    '\x1b',
    '\x1b[3',
    '\x1b[38;5;1',
    '\x1b]0;a long tit',
    '\x1bP$q',
    'a\xc3',
    '\xe6\xbc',
    '\xf0\x9f\x91',
    '\xc2',
    '\xc2\x9b3',
  ]
  for (const cut of CUTS) {
    test(`that comes while the last byte is in the middle of ${JSON.stringify(cut)} misses nothing`, async () => {
      await using f = await openFixture(SHORT)
      const output = Buffer.concat([longOutput(1_500), Buffer.from(cut, 'latin1')])
      await append(f.terminal, output)
      using emulator = new TestEmulator(DEFAULT_SIZE)
      await using v = await new TestViewer({
        port: f.terminal.port,
        protocols: V1,
        assertion: 'ro-b',
        onMessage: (m) => emulator.take(m),
      }).open({})
      await v.until(() => v.position === f.terminal.head, 'the head')
      expect(v.from).toBeLessThan(f.terminal.head)
      const rest = Buffer.from('\xbd\x91\xa9;1mred\x1b\\\x1b[0m text', 'latin1')
      await append(f.terminal, rest)
      await v.until(() => v.position === f.terminal.head, 'the rest')
      await emulator.settled()
      expect(emulator.picture()).toEqual(await localPicture(output, rest))
    })
  }
})

describe('terminal queries', () => {
  const QUERIES: readonly (readonly [string, RegExp])[] = [
    ['\x1b[c', /^\x1b\[\?1;2c$/],
    ['\x1b[>c', /^\x1b\[>0;276;0c$/],
    ['\x1b[5n', /^\x1b\[0n$/],
    ['\x1b[3;7H\x1b[6n', /^\x1b\[3;7R$/],
    ['\x1b[?25$p', /^\x1b\[\?25;1\$y$/],
    ['\x1bP$qm\x1b\\', /^\x1bP1\$r0m\x1b\\$/],
    ['\x1b]4;1;?\x07', /^\x1b\]4;1;rgb:f0f0\/7171\/7878\x1b\\$/],
    ['\x1b]4;16;?;231;?\x07', /^\x1b\]4;16;rgb:0000\/0000\/0000\x1b\\\x1b\]4;231;rgb:ffff\/ffff\/ffff\x1b\\$/],
    ['\x1b]10;?\x07', /^\x1b\]10;rgb:[0-9a-f/]{14}\x1b\\$/],
    ['\x1b]10;?;?\x1b\\', /^\x1b\]10;rgb:[0-9a-f/]{14}\x1b\\\x1b\]11;rgb:1212\/1515\/1b1b\x1b\\$/],
    ['\x1b]12;?\x07', /^\x1b\]12;rgb:[0-9a-f/]{14}\x1b\\$/],
    ['\x1b[>0q', /^\x1bP>\|xterm\.js\(6\.0\.0\)\x1b\\$/],
    ['\x1b[?u\x1b]4;;?\x07\x1b]4;999;?\x07\x1b]10;red\x07\x1b[21t\x1b[5n', /^\x1b\[0n$/],
  ]

  for (const [query, answer] of QUERIES) {
    test(`${JSON.stringify(query)} is answered once with three viewers`, async () => {
      await using f = await openFixture()
      const open = (id: string): Promise<TestViewer> =>
        new TestViewer({ port: f.terminal.port, protocols: V1, assertion: id }).open({})
      await using a = await open('rw-a')
      await using b = await open('rw-b')
      await using c = await open('ro-c')
      await append(f.terminal, Buffer.from(`${query}done`))
      for (const v of [a, b, c]) await v.untilText('done')
      await eventually(() => f.typed() !== '', 'an answer')
      await new Promise((resolve) => setTimeout(resolve, 30))
      expect(f.typed()).toMatch(answer)
    })
  }

  test('get no second answer from a replay, a late viewer or a restarted host', async () => {
    await using f = await openFixture()
    await append(f.terminal, Buffer.from('\x1b[c'))
    await eventually(() => f.typed() !== '', 'an answer')
    await latePicture(f.terminal)
    await f.restart()
    await latePicture(f.terminal)
    await append(f.terminal, Buffer.from('\x1b[5n'))
    await eventually(() => f.typed().endsWith('n'), 'the answer of the second life')
    expect(f.typed()).toBe('\x1b[?1;2c\x1b[0n')
  })

  test('get no answer after the end', async () => {
    await using f = await openFixture()
    f.terminal.appendWork(0, Buffer.from('\x1b[c'))
    f.terminal.end(EXIT_OK)
    await latePicture(f.terminal)
    expect(f.typed()).toBe('')
  })
})

describe('sizes', () => {
  test('are replayed so that each part is drawn at its own size', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 1 } })
    await using driver = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    using local = new TestEmulator(DEFAULT_SIZE)
    for (const columns of [80, 33, 150]) {
      const part = Buffer.from(`${'words that wrap at the edge '.repeat(12)}\r\n\x1b[999;999Hcorner\r\n`)
      await append(f.terminal, part)
      local.write(part)
      driver.resize({ columns, rows: 20 })
      await eventually(() => f.terminal.size.columns === columns, 'the size')
      local.take({ type: 'size', size: { columns, rows: 20 } })
    }
    await append(f.terminal, Buffer.from('last'))
    local.write('last')
    await local.settled()
    await f.restart()
    const late = await latePicture(f.terminal)
    expect(late.picture).toEqual(local.picture())
    expect(f.sizes.map((s) => s.columns)).toEqual([80, 33, 150])
  })

  test('come with a snapshot, and a resize after the last byte is told', async () => {
    await using f = await openFixture({ limits: { ...SHORT.limits, resizeDebounceMs: 1 } })
    await append(f.terminal, longOutput(1_500))
    await using driver = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({
      columns: 90,
      rows: 25,
    })
    await driver.until(() => driver.sizes().at(-1)?.columns === 90, 'the new size')
    const late = async (): Promise<string[]> => {
      await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'ro-b' }).open({})
      await v.until(() => v.sizes().at(-1)?.columns === 90 && v.position === f.terminal.head, 'the head and the size')
      return v.messages.map((m) => m.type).filter((type) => type !== 'data')
    }
    // The snapshot is from before the resize or after it; either way both are told, once.
    const told = ['hello', 'size', 'snapshot']
    expect((await late()).sort()).toEqual(told)
    await f.restart()
    expect((await late()).sort()).toEqual(told)
  })
})

describe('a restart of the host', () => {
  test('starts from the checkpoint and shows the same screen', async () => {
    await using f = await openFixture({ limits: { ...SHORT.limits, checkpointBytes: 1024 * 1024 } })
    const output = longOutput(20_000)
    await append(f.terminal, output)
    const before = await latePicture(f.terminal)
    const checkpoint = readFileSync(path.join(f.dir, 'screen'))
    const { seq } = JSON.parse(checkpoint.subarray(0, checkpoint.indexOf(10)).toString()) as { seq: number }
    expect(seq).toBeGreaterThan(0)
    expect(output.length - seq).toBeLessThan(1.2 * 1024 * 1024)
    await f.restart()
    const start = performance.now()
    await f.terminal.ready()
    expect(performance.now() - start).toBeLessThan(5_000)
    expect((await latePicture(f.terminal)).picture).toEqual(before.picture)
  })

  test('does not need the checkpoint', async () => {
    await using f = await openFixture(SHORT)
    const output = longOutput(1_500)
    expect(output.length).toBeGreaterThan(SHORT.limits.replayBytes)
    await append(f.terminal, output)
    for (const broken of ['', '{"seq":1', '{"seq":99999999999,"size":{}}\nx']) {
      writeFileSync(path.join(f.dir, 'screen'), broken)
      await f.restart()
      expect((await latePicture(f.terminal)).picture).toEqual(await localPicture(output))
    }
  })
})
