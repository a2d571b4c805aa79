import { describe, expect, test } from '@jest/globals'
import { encodeBytes, ServerType } from '@cliscale/contract/terminal'
import { PlainLink } from './plain-link.ts'

const text = (message: Uint8Array): string => new TextDecoder().decode(message)
const data = (body: string | Uint8Array): Uint8Array =>
  encodeBytes(ServerType.data, typeof body === 'string' ? new TextEncoder().encode(body) : body)

function start() {
  const sent: string[] = []
  const written: string[] = []
  const parsed: (() => void)[] = []
  let attached = 0
  const link = new PlainLink({
    send: (message) => void sent.push(text(message)),
    write: (bytes, done) => {
      written.push(text(bytes))
      parsed.push(done)
    },
    title: (title) => void written.push(`title ${title}`),
    onAttached: () => void attached++,
  })
  return { link, sent, written, parsed, attached: () => attached }
}

describe('PlainLink', () => {
  test('greets as ttyd expects', () => {
    const { link, sent } = start()
    link.greet({ columns: 80, rows: 24 })
    link.resize({ columns: 81, rows: 25 })
    expect(sent).toEqual(['{"AuthToken":"","columns":80,"rows":24}', '1{"columns":81,"rows":25}'])
  })

  test('what comes before ttyd’s first message is from the gateway and is not drawn', () => {
    const { link, written, attached } = start()
    link.receive(data('[cliscale] scheduling, 3 s'))
    expect([written, link.isAttached]).toEqual([[], false])
    link.receive(encodeBytes(ServerType.title, new TextEncoder().encode('bash')))
    link.receive(encodeBytes(ServerType.preferences, new TextEncoder().encode('{}')))
    link.receive(data('$ '))
    expect([written, attached()]).toEqual([['title bash', '$ '], 1])
  })

  test('asks ttyd once to pause while much is not drawn yet, and then to resume', () => {
    const { link, sent, parsed } = start()
    link.receive(encodeBytes(ServerType.preferences, new Uint8Array(0)))
    for (let i = 0; i < 6; i++) link.receive(data(new Uint8Array(64 * 1024)))
    expect(sent).toEqual(['2'])
    for (const done of parsed.splice(0, 4)) done()
    expect(sent).toEqual(['2'])
    parsed.shift()?.()
    expect(sent).toEqual(['2', '3'])
    parsed.shift()?.()
    expect(sent).toEqual(['2', '3'])
  })
})
