import { once } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { ClientType, encodeBytes } from '@cliscale/contract'
import { WebSocket } from 'ws'
import { TestViewer } from './terminal-client.ts'

/** A server that runs one command in a terminal and speaks `tty`. */
export interface ContractTarget extends AsyncDisposable {
  readonly port: number
  /** Where the server requires one. */
  readonly assertion?: string
}

export interface ContractSubject {
  readonly name: string
  /** Starts the server; the command runs as `bash -c`, at the latest after the first message of the first viewer. */
  readonly start: (command: string) => Promise<ContractTarget>
  /** Close codes that a viewer may get when the command ends with 0. */
  readonly closeAtExit0: readonly number[]
}

const SIZE = { columns: 91, rows: 31 }

/** The wire protocol `tty` as a viewer sees it. */
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
    ])('upgrades %s offering %j with 101 and tty', async (path, protocols) => {
      await using target = await subject.start('cat')
      await using v = await viewer(target, protocols, path).open()
      expect(v.ws.protocol).toBe('tty')
      expect(v.ws.extensions).toBe('')
    })

    test.each([['/foo'], ['/ws/'], ['/ws/0b6ea4d6']])('has no terminal at %s', async (path) => {
      await using target = await subject.start('cat')
      const v = viewer(target, ['tty'], path)
      await v.untilClosed()
      expect([v.closed?.code, v.ws.protocol]).toEqual([1006, ''])
    })

    test('does not upgrade an offer without tty', async () => {
      await using target = await subject.start('cat')
      const v = viewer(target, ['something-else'])
      await v.untilClosed()
      expect(v.closed?.code).toBe(1006)
    })

    test('sends no output before the first message; then title, preferences and output in that order', async () => {
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
    ])('starts the output at a first message of %s', async (_, first) => {
      await using target = await subject.start('echo begin; cat')
      await using v = await viewer(target).open()
      v.ws.send(first)
      expect(await v.untilText('begin')).toContain('begin')
    })

    test('takes the size from the first message', async () => {
      await using target = await subject.start('read -r line; stty size; cat')
      await using v = await viewer(target).open(SIZE)
      await new Promise((resolve) => setTimeout(resolve, 300))
      v.type('\r')
      expect(await v.untilText('31 91')).toContain('31 91')
    })

    test('passes input of type 0 to the program byte for byte, as text or binary', async () => {
      await using target = await subject.start('stty -echo; echo ready; cat')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.type('grüße 漢字 👩‍💻\r')
      v.ws.send('0as text\r')
      v.ws.send(encodeBytes(ClientType.input, Buffer.alloc(0)))
      expect(await v.untilText('grüße 漢字 👩‍💻\r\nas text\r\n')).toContain('grüße 漢字 👩‍💻\r\nas text\r\n')
    })

    test('interrupts at Ctrl-C, typed as 0 and 0x03', async () => {
      // ttyd may lose what a program prints right before its end.
      await using target = await subject.start(
        'trap "echo caught; sleep 1; exit 0" INT; echo ready; while :; do sleep 0.05; done',
      )
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.type('\x03')
      expect(await v.untilText('caught')).toContain('caught')
    })

    test('passes a resize of type 1 to the program', async () => {
      await using target = await subject.start('trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('ready')
      v.resize({ columns: 101, rows: 33 })
      expect(await v.untilText('33 101')).toContain('33 101')
    })

    test('ignores what makes no sense, and goes on', async () => {
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

    test('sends the raw bytes of the program, whatever they are', async () => {
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

    test('sends 200,000 lines complete and in order', async () => {
      await using target = await subject.start('stty -onlcr; seq 1 200000; read -r line')
      await using v = await viewer(target).open(SIZE)
      await v.untilText('\n200000\n', 20_000)
      const lines = v.text().split('\n').slice(0, -1)
      expect(lines.length).toBe(200_000)
      expect(lines.findIndex((line, i) => line !== `${i + 1}`)).toBe(-1)
    })

    test('answers a ping', async () => {
      await using target = await subject.start('cat')
      await using v = await viewer(target).open(SIZE)
      v.ws.ping('are you there')
      const [data] = (await once(v.ws, 'pong')) as [Buffer]
      expect(data.toString()).toBe('are you there')
    })

    test('answers a viewer’s Close', async () => {
      await using target = await subject.start('cat')
      await using v = await viewer(target).open(SIZE)
      await v.until(() => v.messages.length > 0, 'anything')
      v.ws.close(1000)
      await v.untilClosed()
      expect(v.closed?.code).toBe(1000)
      expect(v.ws.readyState).toBe(WebSocket.CLOSED)
    })

    test(`closes the viewer when the command ends with 0`, async () => {
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
