import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { INPUT_WINDOW_BYTES } from '@cliscale/contract'
import type { WorkEvent } from '../src/host/work-link.ts'
import type { PreparedOrder } from '../src/relay/messages.ts'
import { order, type Result, runOrder, startWork, Typist, type WorkProcess } from './relay-peer.ts'

interface Steps {
  readonly given: PreparedOrder
  /** Before the order is handed over. */
  readonly before?: (typist: Typist) => void
  /** Each time that something arrived, with all output so far. */
  readonly onText?: (text: string, typist: Typist, work: WorkProcess) => void
}

/** One order in a work of its own, with one typist. */
async function runTyped(steps: Steps): Promise<Result & { typist: Typist; text: string }> {
  await using work = startWork()
  const link = await work.connect()
  const typist = new Typist(link)
  steps.before?.(typist)
  const onOutput = (all: () => Buffer): void => steps.onText?.(all().toString('latin1'), typist, work)
  const result = await runOrder(link, steps.given, onOutput, undefined, (event: WorkEvent) => typist.hear(event))
  link.send({ type: 'quit' })
  await link.end()
  await work.exited
  return { ...result, typist, text: result.output.toString() }
}

/** Calls `act` the first time that `text` is in the output. */
function once(text: string, act: (typist: Typist, work: WorkProcess) => void): NonNullable<Steps['onText']> {
  let done = false
  return (all, typist, work) => {
    if (done || !all.includes(text)) return
    done = true
    act(typist, work)
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

describe('a line that is longer than a terminal holds', () => {
  const paste = `${'x'.repeat(5000)}\n${'y'.repeat(4095)}\n`

  test('is cut, and its sender is told once', async () => {
    const { text, typist } = await runTyped({
      given: order('stty -echo; echo ready; read -r a; read -r b; echo "<${#a} ${#b}>"; sleep 1'),
      onText: once('ready', (one) => one.type(paste)),
    })
    expect(text).toContain('<4095 4095>')
    expect(typist.lineCuts).toBe(1)
  })

  test('arrives whole at a program that does not read lines, and nobody is told', async () => {
    const { text, typist } = await runTyped({
      given: order(`stty raw -echo; echo ready; head -c ${paste.length} | wc -c; sleep 1`),
      onText: once('ready', (one) => one.type(paste)),
    })
    expect(text).toContain(String(paste.length))
    expect(typist.lineCuts).toBe(0)
  })

  test('is told of after a program that did not read lines', async () => {
    const raw = 'stty raw -echo; echo raw; head -c 6000 | wc -c'
    const whenRaw = once('raw', (one) => one.type('r'.repeat(6000)))
    const whenByLine = once('by line', (one) => one.type(paste))
    const { text, typist } = await runTyped({
      given: order(`${raw}; sleep 0.7; stty sane -echo; echo by line; read -r a; echo "<\${#a}>"; sleep 1`),
      onText: (...args) => [whenRaw, whenByLine].forEach((act) => act(...args)),
    })
    expect(text).toContain('<4095>')
    expect(typist.lineCuts).toBe(1)
  })
})

describe('input before the command runs', () => {
  test('waits for the command, even through an install that reads its input', async () => {
    const { text } = await runTyped({
      given: order('read -r a; read -r b; echo "<$a> <$b>"', {
        installCmd: 'echo installing; read -rt 0.5 x; echo "[$x]"',
      }),
      before: (typist) => typist.type('first\n'),
      onText: once('installing', (typist) => typist.type('second\n')),
    })
    expect(text).toContain('[]')
    expect(text).toContain('<first> <second>')
  })

  test('is kept byte for byte up to its window, and an end of input ends it', async () => {
    const lines = `${'x'.repeat(60)}\n`.repeat(1000)
    const { text } = await runTyped({
      given: order('stty -echo; cat | sha256sum', { installCmd: 'sleep 0.2' }),
      before: (typist) => typist.type(`${lines}\x04`),
    })
    expect(text).toContain(sha256(Buffer.from(lines)))
  })

  test.each([
    ['that is Ctrl-C interrupts the install, not the command', '\x03', 'SIGINT'],
    ['that is Ctrl-\\ does so too', '\x1c', 'SIGQUIT'],
  ])('%s', async (_, key, signal) => {
    const { exit, typist } = await runTyped({
      given: order('echo command', { installCmd: 'ulimit -c 0; echo installing; exec sleep 60' }),
      onText: once('installing', (viewer) => viewer.type(`typed${key}`)),
    })
    expect(exit).toMatchObject({ phase: 'install', signal })
    expect(typist.dropped).toBe(5)
  })

  test('that is Ctrl-C before anything runs discards what was typed, and interrupts nothing later', async () => {
    const { text, exit, typist } = await runTyped({
      given: order('read -r a; echo "<$a>"'),
      before: (viewer) => viewer.type('rm -rf /\n\x03yes\n'),
    })
    expect(text).toContain('<yes>')
    expect(exit.exitCode).toBe(0)
    expect(typist.dropped).toBe(9)
  })
})

describe('a program that does not read for a while', () => {
  test('gets every byte of 1 MB, and work holds no more than a window of it', async () => {
    const bytes = Buffer.from(randomBytes(500_000).toString('hex'))
    let waiting = 0
    const { text } = await runTyped({
      given: order(`stty raw -echo; echo up; sleep 1; head -c ${bytes.length} | sha256sum`),
      onText: once('up', (typist) => {
        typist.type(bytes)
        setTimeout(() => (waiting = typist.progress.received - typist.progress.taken), 600)
      }),
    })
    expect(text).toContain(sha256(bytes))
    expect(waiting).toBeGreaterThan(0)
    expect(waiting).toBeLessThanOrEqual(INPUT_WINDOW_BYTES + 16 * 1024)
  })

  test('loses and doubles nothing when the host is replaced in the middle', async () => {
    await using work = startWork()
    const bytes = Buffer.from(randomBytes(200_000).toString('hex'))
    const first = await work.connect()
    const typist = new Typist(first)
    const given = order(
      `stty raw -echo; echo up; sleep 0.5; head -c ${bytes.length} | sha256sum; read -rt 0.2 x; echo "$x"`,
    )
    const up = new Promise<void>((resolve) => {
      void runOrder(first, given, () => resolve()).catch(() => {}) // its connection is taken over
    })
    await up
    typist.type(bytes)
    let text = ''
    for (let life = 0; life < 8 && text === ''; life++) {
      const link = await work.connect('up\n'.length)
      typist.goOn(link)
      const following = follow(link, typist)
      text = life < 7 ? await Promise.race([following, sleep(70, '')]) : await following
    }
    expect(text).toBe(`${sha256(bytes)}  -\n\n`)
  })

  test('costs no memory when it never reads, whatever is pasted; Ctrl-C ends it and discards the paste', async () => {
    let before = 0
    let after = 0
    const { exit, typist } = await runTyped({
      given: order('echo up; exec sleep 60'),
      onText: once('up', (viewer, work) => {
        before = rssOf(work.child.pid!)
        viewer.type(Buffer.alloc(10_000_000, 'echo pasted\n'))
        setTimeout(() => {
          after = rssOf(work.child.pid!)
          viewer.interrupt('\x03')
        }, 500)
      }),
    })
    expect(exit.signal).toBe('SIGINT')
    expect(after - before).toBeLessThan(20_000_000)
    expect(typist.dropped).toBeGreaterThan(0)
    expect(typist.progress.taken).toBe(10_000_001)
  })
})

describe('an interrupt key', () => {
  test.each([
    ['lines', 'x'.repeat(99) + '\n'],
    ['one line without an end', 'x'.repeat(100)],
  ])('overtakes input that the kernel holds: 30 KB of %s', async (_, piece) => {
    const { exit } = await runTyped({
      given: order('stty -echo; echo up; exec sleep 60'),
      onText: once('up', (typist) => {
        typist.type(piece.repeat(300))
        setTimeout(() => typist.type('\x03'), 200)
      }),
    })
    expect(exit.signal).toBe('SIGINT')
  })

  test('leaves nothing of the paste for the shell that goes on, and what is typed afterwards arrives', async () => {
    const { text } = await runTyped({
      given: order('PS1="ready> " exec bash --norc --noediting -i'),
      onText: steps([
        ['ready> ', (typist) => typist.type('sleep 60; echo slept\n')],
        ['slept', (typist) => setTimeout(() => typist.type('echo pasted\n'.repeat(20_000)), 300)],
        ['echo pasted', (typist) => setTimeout(() => typist.interrupt('\x03'), 300)],
        ['^C', (typist) => typist.type('echo $((6*7))\nexit\n')],
      ]),
    })
    expect(text).toContain('42\r\n')
    expect(text).not.toMatch(/\npasted\r/)
  })

  test('is another key where the program chose another', async () => {
    const { exit } = await runTyped({
      given: order('stty intr ^X; echo up; exec sleep 60'),
      onText: once('up', (typist) => {
        typist.type('y\n'.repeat(100_000))
        setTimeout(() => typist.interrupt('\x18'), 300)
      }),
    })
    expect(exit.signal).toBe('SIGINT')
  })

  test('is an ordinary byte in raw mode, and keeps its place', async () => {
    const bytes = Buffer.from(randomBytes(100_000).toString('hex'))
    const all = Buffer.concat([bytes, Buffer.from('\x03:q')])
    const { text, typist } = await runTyped({
      given: order(`stty raw -echo; echo up; sleep 0.7; head -c ${all.length} | sha256sum`),
      onText: once('up', (viewer) => {
        viewer.type(bytes)
        setTimeout(() => {
          viewer.interrupt('\x03')
          viewer.type(':q')
        }, 200)
      }),
    })
    expect(text).toContain(sha256(all))
    expect(typist.dropped).toBe(0)
  })

  test('of one viewer overtakes what another viewer pasted', async () => {
    await using work = startWork()
    const link = await work.connect()
    const [one, other] = [new Typist(link), new Typist(link)]
    const { exit } = await runOrder(
      link,
      order('echo up; exec sleep 60'),
      () => {
        if (one.progress.received > 0) return
        one.type('y\n'.repeat(200_000))
        setTimeout(() => other.type('\x03'), 200)
      },
      undefined,
      (event) => [one, other].forEach((each) => each.hear(event)),
    )
    expect(exit.signal).toBe('SIGINT')
  })
})

/** Acts on each text in turn, looking only at what arrived since the previous one. */
function steps(list: readonly [string, (typist: Typist) => void][]): NonNullable<Steps['onText']> {
  let at = 0
  let step = 0
  return (all, typist) => {
    const [text, act] = list[step] ?? []
    const found = text === undefined ? -1 : all.indexOf(text, at)
    if (found === -1) return
    at = found + text!.length
    step++
    act!(typist)
  }
}

/** Reads to the exit, or to the end of the connection; resolves to the output of this connection. */
async function follow(link: Typist['link'], typist: Typist): Promise<string> {
  const parts: Buffer[] = []
  for await (const event of link.events()) {
    typist.hear(event)
    if (event.type === 'output') parts.push(Buffer.from(event.bytes))
    if (event.type === 'exit') break
  }
  return Buffer.concat(parts).toString()
}

function rssOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}
