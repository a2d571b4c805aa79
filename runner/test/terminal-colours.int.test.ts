import { describe, expect, test } from '@jest/globals'
import { type ClientHello, DARK_COLOURS, LIGHT_COLOURS, V1_PROTOCOL } from '@cliscale/contract'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'
import { TestViewer } from './terminal-client.ts'
import { eventually, type Fixture, openFixture, V1 } from './terminal-fixture.ts'

const SIZE = { columns: 100, rows: 30 }
const LIGHT: ClientHello = { ...SIZE, colours: LIGHT_COLOURS }
const DARK: ClientHello = { ...SIZE, colours: DARK_COLOURS }
const BACKGROUND = { dark: '\x1b]11;rgb:1212/1515/1b1b\x1b\\', light: '\x1b]11;rgb:fdfd/fdfd/fcfc\x1b\\' }
const NOW = { dark: '\x1b[?997;1n', light: '\x1b[?997;2n' }
const ASK_BACKGROUND = '\x1b]11;?\x07'
const NOTIFY = '\x1b[?2031h'

const viewer = (f: Fixture, assertion: string, hello: ClientHello, protocols = V1): Promise<TestViewer> =>
  new TestViewer({ port: f.terminal.port, protocols, assertion }).open(hello)

/** What the program gets for `output`: the answer to its question follows what arrives unasked. */
async function told(f: Fixture, output = ASK_BACKGROUND): Promise<string> {
  const before = f.typed().length
  f.terminal.appendWork(f.terminal.workOffset, Buffer.from(`${output}\x1b[5n`))
  await eventually(() => f.typed().endsWith('\x1b[0n'), 'an answer')
  const text = f.typed().slice(before, -'\x1b[0n'.length)
  f.input.push(Buffer.from('|'))
  return text
}

async function toldBackground(f: Fixture, expected: string): Promise<void> {
  const end = Date.now() + 5_000
  while ((await told(f)) !== expected && Date.now() < end);
  expect(await told(f)).toBe(expected)
}

describe('a program that asks for the colours', () => {
  test('gets dark ones while no viewer watches or reports any', async () => {
    await using f = await openFixture()
    expect(await told(f)).toBe(BACKGROUND.dark)
    await using old = await viewer(f, 'rw-old', SIZE)
    await using odd = await viewer(f, 'rw-odd', { ...SIZE, colours: { background: '\x1b[c' } as never })
    for (const v of [old, odd]) await v.until(() => v.hello !== undefined, 'hello')
    expect(await told(f)).toBe(BACKGROUND.dark)
    expect(await told(f, '\x1b[?996n')).toBe(NOW.dark)
  })

  test('gets those of the viewer who is the driver, once, with its palette', async () => {
    await using f = await openFixture()
    await using light = await viewer(f, 'rw-light', LIGHT)
    await light.until(() => light.messages.some((m) => m.type === 'driver' && m.drives), 'the size is its own')
    await using dark = await viewer(f, 'rw-dark', DARK)
    await using watcher = await viewer(f, 'ro-dark', DARK)
    for (const v of [dark, watcher]) await v.until(() => v.hello !== undefined, 'hello')
    await toldBackground(f, BACKGROUND.light)
    expect(await told(f, '\x1b]4;1;?\x07\x1b]10;?;?;?\x07\x1b[?996n')).toBe(
      `\x1b]4;1;rgb:c4c4/3030/3b3b\x1b\\\x1b]10;rgb:2424/2929/2f2f\x1b\\${BACKGROUND.light}\x1b]12;rgb:2f2f/6f6f/ebeb\x1b\\${NOW.light}`,
    )
    dark.type('x')
    await toldBackground(f, BACKGROUND.dark)
  })

  test('gets dark ones from a viewer of ttyd’s protocol, who reports none', async () => {
    await using f = await openFixture()
    await using v = await viewer(f, 'rw-tty', LIGHT, ['tty'] as never)
    await v.until(() => v.messages.length > 0, 'a greeting')
    expect(await told(f)).toBe(BACKGROUND.dark)
  })

  test('gets what it set itself, until it undoes that', async () => {
    await using f = await openFixture()
    const set = '\x1b]11;#300\x07\x1b]4;1;rgb:12/34/56;7;#abcdef\x07'
    expect(await told(f, `${set}${ASK_BACKGROUND}\x1b]4;1;?;7;?\x07`)).toBe(
      '\x1b]11;rgb:3030/0000/0000\x1b\\\x1b]4;1;rgb:1212/3434/5656\x1b\\\x1b]4;7;rgb:abab/cdcd/efef\x1b\\',
    )
    expect(await told(f, `\x1b]111\x07\x1b]104;1\x07${ASK_BACKGROUND}\x1b]4;1;?;7;?\x07`)).toBe(
      `${BACKGROUND.dark}\x1b]4;1;rgb:f0f0/7171/7878\x1b\\\x1b]4;7;rgb:abab/cdcd/efef\x1b\\`,
    )
    expect(await told(f, '\x1b]104\x07\x1b]4;7;?\x07')).toBe('\x1b]4;7;rgb:c8c8/cece/d9d9\x1b\\')
  })
})

describe('a program that subscribes to colour changes (mode 2031)', () => {
  test('gets each change once, and nothing without a subscription or a change', async () => {
    await using f = await openFixture()
    await using v = await viewer(f, 'rw-a', LIGHT)
    await toldBackground(f, BACKGROUND.light)
    expect(await told(f, `\x1b[?2031$p${NOTIFY}\x1b[?2031$p`)).toBe('\x1b[?2031;2$y\x1b[?2031;1$y')
    v.resize({ colours: DARK_COLOURS })
    await eventually(() => f.typed().endsWith(NOW.dark), 'the change')
    f.input.push(Buffer.from('|'))
    v.resize({ ...SIZE, colours: DARK_COLOURS })
    v.resize({ colours: LIGHT_COLOURS })
    await eventually(() => f.typed().endsWith(NOW.light), 'the next change')
    expect(f.typed().slice(f.typed().lastIndexOf('|'))).toBe(`|${NOW.light}`)
    expect(await told(f, '\x1b[?2031l')).toBe('')
    v.resize({ colours: DARK_COLOURS })
    await toldBackground(f, BACKGROUND.dark)
    expect(f.typed().split(NOW.dark)).toHaveLength(2)
  })

  test('is also told when another viewer becomes the driver, and after a restart of the host', async () => {
    await using f = await openFixture()
    await using a = await viewer(f, 'rw-a', DARK)
    await a.until(() => a.messages.some((m) => m.type === 'driver' && m.drives), 'the size is its own')
    await using b = await viewer(f, 'rw-b', LIGHT)
    await b.until(() => b.hello !== undefined, 'hello')
    expect(await told(f, NOTIFY)).toBe('')
    b.type('x')
    await eventually(() => f.typed().endsWith(`x${NOW.light}`), 'the change')
    await f.restart()
    await using again = await viewer(f, 'rw-b', LIGHT)
    await eventually(() => f.typed().endsWith(NOW.light + NOW.light), 'the change to what is assumed at the start')
    expect(await told(f)).toBe(BACKGROUND.light)
    await again.until(() => again.hello !== undefined, 'hello')
  })

  test.each(['\x1bc', '\x1b[!p'])('is no longer subscribed after a reset (%j)', async (reset) => {
    await using f = await openFixture()
    expect(await told(f, `${NOTIFY}${reset}\x1b[?2031$p`)).toBe('\x1b[?2031;2$y')
  })
})

/** Asks as programs do: in raw mode, by reading what its terminal sends; then prints what it got. */
const ASKS = `
import os, sys, termios, tty
was = termios.tcgetattr(0)
tty.setraw(0)
def got(until):
    seen = b''
    while not seen.endswith(until): seen += os.read(0, 1)
    return seen.decode().replace('\\x1b', '<ESC>')
def ask(question, until):
    os.write(1, question); return got(until)
os.write(1, b'\\x1b[?2031h')
for turn in ('first', 'second'):
    answers = [ask(b'\\x1b]10;?\\x07', b'\\\\'), ask(b'\\x1b]11;?\\x07', b'\\\\'), ask(b'\\x1b[?996n', b'n')]
    print(turn, *answers, end='.\\r\\n', flush=True)
    if turn == 'first': print('told', got(b'n'), end='.\\r\\n', flush=True)
termios.tcsetattr(0, termios.TCSADRAIN, was)
`

describe('a real program', () => {
  test('prints the colours before and after the page changed them, and hears of the change', async () => {
    await using controller = await createControllerDouble({ command: `read -r go; python3 -c "$ASKS"`, env: { ASKS } })
    await using session = new HostUnderTest(controller).start()
    const port = await session.port()
    const protocols = [V1_PROTOCOL]
    await using v = await new TestViewer({ port, protocols, assertion: await controller.assertion('rw') }).open(DARK)
    v.type('go\r')
    const first = await v.untilText(
      'first <ESC>]10;rgb:d5d5/dada/e3e3<ESC>\\ <ESC>]11;rgb:1212/1515/1b1b<ESC>\\ <ESC>[?997;1n.',
    )
    expect(first).not.toContain('told')
    v.resize({ colours: LIGHT_COLOURS })
    await v.untilText('told <ESC>[?997;2n.')
    await v.untilText('second <ESC>]10;rgb:2424/2929/2f2f<ESC>\\ <ESC>]11;rgb:fdfd/fdfd/fcfc<ESC>\\ <ESC>[?997;2n.')
  })
})
