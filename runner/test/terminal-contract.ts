import { once } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { ClientType, encodeBytes } from '@cliscale/contract'
import { WebSocket } from 'ws'
import { TestViewer } from './terminal-client.ts'

/** A server that runs one command in a terminal and speaks `tty`. */
export interface ContractTarget extends AsyncDisposable {
  readonly port: number
  /** Where the server wants one. */
  readonly assertion?: string
}

export interface ContractSubject {
  readonly name: string
  /** Starts the server; the command runs as `bash -c`, at the latest when the first viewer has said its first message. */
  readonly start: (command: string) => Promise<ContractTarget>
  /** Close codes that a viewer may see when the command ends with 0. */
  readonly closeAtExit0: readonly number[]
}

const SIZE = { columns: 91, rows: 31 }

/** The wire protocol `tty` as a viewer finds it. */
export function describeTtyContract(subject: ContractSubject): void {
  const viewer = (target: ContractTarget, protocols = ['tty'], path = '/ws'): TestViewer =>
    new TestViewer({
      port: target.port,
      protocols,
      path,
      ...(target.assertion === undefined ? {} : { assertion: target.assertion }),
    })

  describe(`the protocol tty of ${subject.name}`, () => {
    test.each([
      ['/ws', ['tty']],
      ['/', ['tty']],
      ['/ws?a=b', ['something-else', 'tty']],
    ])('an upgrade of %s that offers %j gets 101 with tty', async (path, protocols) => {
      await using target = await subject.start('cat')
      await using v = await viewer(target, protocols, path).open()
      expect(v.ws.protocol).toBe('tty')
      expect(v.ws.extensions).toBe('')
    })

    test.each([['/foo'], ['/ws/'], ['/ws/0b6ea4d6']])('%s is not an address of the terminal', async (path) => {
      await using target = await subject.start('cat')
      const v = viewer(target, ['tty'], path)
      await v.untilClosed()
      expect([v.closed?.code, v.ws.protocol]).toEqual([1006, ''])
    })

    test('an offer without tty is not upgraded', async () => {
      await using target = await subject.start('cat')
      const v = viewer(target, ['something-else'])
      await v.untilClosed()
      expect(v.closed?.code).toBe(1006)
    })

    test('no output comes before the first message; then title, preferences and output in that order', async () => {
      await using target = await subject.start('echo begin; cat')
      await using v = await viewer(target).open()
      await new Promise((resolve) => setTimeout(resolve, 200))
      expect(v.messages.filter((m) => m.type === 'data')).toEqual([])
      await v.open(SIZE)
      await v.untilText('begin')
      const types = v.messages.map((m) => m.type)
      expect(types.slice(0, 3)).toEqual(['title', 'preferences', 'data'])
      expect(types.lastIndexOf('title')).toBe(0)
      const preferences =
        v.raw
          .find((m) => m.data[0] === 0x32)
          ?.data.subarray(1)
          .toString() ?? ''
      expect(typeof JSON.parse(preferences)).toBe('object')
      expect(v.raw.every((m) => m.isBinary)).toBe(true)
    })

    test.each([
      ['text', '{"columns":80,"rows":24}'],
      ['text without a size', '{}'],
      ['text with a credential', '{"AuthToken":"","columns":80,"rows":24}'],
      ['binary', Buffer.from('{"columns":80,"rows":24}')],
      ['broken JSON', '{"columns":'],
    ])('a first message of %s starts the output', async (_, first) => {
      await using target = await subject.start('echo begin; cat')
      await using v = await viewer(target).open()
      v.ws.send(first)
      expect(await v.untilText('begin')).toContain('begin')
    })

    test('the first message has the size', async () => {
      await using target = await subject.start('read -r line; stty size; cat')
      await using v = await viewer(target).open(SIZE)
      await new Promise((resolve) => setTimeout(resolve, 300))
      v.type('\r')
      expect(await v.untilText('31 91')).toContain('31 91')
    })

    test('input of 0 reaches the program byte for byte, as text or binary', async () => {
      await using target = await subject.start('stty -echo; echo ready; cat')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.type('grüße 漢字 👩‍💻\r')
      v.ws.send('0as text\r')
      v.ws.send(encodeBytes(ClientType.input, Buffer.alloc(0)))
      expect(await v.untilText('grüße 漢字 👩‍💻\r\nas text\r\n')).toContain('grüße 漢字 👩‍💻\r\nas text\r\n')
    })

    test('Ctrl-C typed as 0 and 0x03 interrupts', async () => {
      await using target = await subject.start(
        'trap "echo caught; exit 0" INT; echo ready; while :; do sleep 0.05; done',
      )
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.type('\x03')
      expect(await v.untilText('caught')).toContain('caught')
    })

    test('a resize of 1 reaches the program', async () => {
      await using target = await subject.start('trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.resize({ columns: 101, rows: 33 })
      expect(await v.untilText('33 101')).toContain('33 101')
    })

    test('what makes no sense is ignored and the terminal goes on', async () => {
      await using target = await subject.start('stty -echo; echo ready; cat')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      for (const message of [
        '{"columns":10,"rows":10}',
        'zzz',
        '\u0000',
        '9',
        '1{',
        '1null',
        '1[]',
        '1{"columns":"x"}',
      ])
        v.ws.send(Buffer.from(message))
      v.ws.send(Buffer.from('1{"columns":-1,"rows":1e9}'))
      v.ws.send(Buffer.from('1{"columns":80,"rows":24}'))
      v.type('still here\r')
      expect(await v.untilText('still here')).toContain('still here')
    })

    test('output comes as the raw bytes of the program, whatever they are', async () => {
      await using target = await subject.start(
        String.raw`stty raw -echo; printf '\000\001\377\376\302begin\300\200'; cat`,
      )
      await using v = await viewer(target).open(SIZE)
      await v.until(() => v.bytes().includes(Buffer.from([0xc0, 0x80])), 'the last bytes')
      const expected = Buffer.concat([
        Buffer.from([0, 1, 255, 254, 0xc2]),
        Buffer.from('begin'),
        Buffer.from([0xc0, 0x80]),
      ])
      expect(v.bytes()).toEqual(expected)
    })

    test('200,000 lines come whole and in order', async () => {
      await using target = await subject.start('stty -onlcr; seq 1 200000; read -r line')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('\n200000\n', 20_000)
      const lines = v.text().split('\n').slice(0, -1)
      expect(lines.length).toBe(200_000)
      expect(lines.findIndex((line, i) => line !== `${i + 1}`)).toBe(-1)
    })

    test('a ping is answered', async () => {
      await using target = await subject.start('cat')
      await using v = await viewer(target).open(SIZE)
      v.ws.ping('are you there')
      const [data] = (await once(v.ws, 'pong')) as [Buffer]
      expect(data.toString()).toBe('are you there')
    })

    test('a Close of the viewer is answered', async () => {
      await using target = await subject.start('cat')
      await using v = await viewer(target).open(SIZE)
      await v.until(() => v.messages.length > 0, 'anything')
      v.ws.close(1000)
      await v.untilClosed()
      expect(v.closed?.code).toBe(1000)
      expect(v.ws.readyState).toBe(WebSocket.CLOSED)
    })

    test(`a command that ends with 0 closes the viewer`, async () => {
      await using target = await subject.start('read -r line; echo bye; sleep 0.3; exit 0')
      await using v = await viewer(target).open(SIZE)
      await v.until(() => v.messages.length >= 2, 'the start')
      v.type('\r')
      await v.untilClosed()
      expect(v.text()).toContain('bye')
      expect(subject.closeAtExit0).toContain(v.closed?.code)
    })
  })
}
