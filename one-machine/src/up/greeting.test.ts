import { execFileSync } from 'node:child_process'
import { describe, expect, test } from '@jest/globals'
import { greeting, quote } from './greeting.ts'

const FACTS = {
  address: 'http://127.0.0.1:7080',
  key: { file: '/data/api-key' },
  sampleDir: '/clone/sample-cli',
  dataDir: '/data',
  seconds: '3.2',
}

describe('the command to paste', () => {
  const curlOf = (text: string): string => /^ {2}(curl .*)$/m.exec(text)?.[1] ?? ''

  test('is one line with the address, the key file and the sample', () => {
    expect(curlOf(greeting(FACTS))).toBe(
      `curl -sS http://127.0.0.1:7080/api/sessions -H "Authorization: Bearer $(cat /data/api-key)" -H 'Content-Type: application/json' -d '{"code_url":"/clone/sample-cli","command":"node index.js run"}'`,
    )
  })

  test('passes on a certificate of the network’s own, without which the sample could install nothing', () => {
    expect(curlOf(greeting({ ...FACTS, extraCaCerts: '/etc/ca.pem' }))).toContain(
      '"command":"node index.js run","env":{"NODE_EXTRA_CA_CERTS":"/etc/ca.pem"}}',
    )
  })

  test('names the variable when the key comes from the environment', () => {
    expect(curlOf(greeting({ ...FACTS, key: { variable: 'CLISCALE_API_KEY' } }))).toContain(
      '"Authorization: Bearer $CLISCALE_API_KEY"',
    )
  })

  test.each(["it's", 'a b', '$(touch x)', '`id`', 'back\\slash', '"quoted"', 'ü'])(
    'is read by a shell as intended with %j in its paths',
    (name) => {
      const key = { file: `/keys/${name}/api-key` }
      const curl = curlOf(greeting({ ...FACTS, key, sampleDir: `/clone/${name}` }))
      const words = execFileSync('sh', [
        '-c',
        `curl() { printf '%s\\0' "$@"; }; cat() { printf '<%s>' "$1"; }; ${curl}`,
      ])
      const [, , , authorization, , , , body] = words.toString().split('\0')
      expect(authorization).toBe(`Authorization: Bearer <${key.file}>`)
      expect(JSON.parse(body ?? '')).toEqual({ code_url: `/clone/${name}`, command: 'node index.js run' })
    },
  )
})

describe('the line that sets address and key', () => {
  const exportOf = (text: string): string => /^ {2}(export .*)$/m.exec(text)?.[1] ?? ''
  const SHOW = 'printf "%s\\n" "$URL" "$CLISCALE_API_KEY"'

  test.each(["it's", 'a b', '$(touch x)', '`id`', 'back\\slash', '"quoted"', 'ü', 'Application Support'])(
    'is read by a shell as intended with %j in the path of the key',
    (name) => {
      const line = exportOf(greeting({ ...FACTS, key: { file: `/keys/${name}/api-key` } }))
      const said = execFileSync('sh', ['-c', `cat() { printf '<%s> x' "$1"; }; ${line}; ${SHOW}`]).toString()
      expect(said).toBe(`http://127.0.0.1:7080\n</keys/${name}/api-key> x\n`)
    },
  )

  test('leaves a key alone that the environment already has', () => {
    const line = exportOf(greeting({ ...FACTS, key: { variable: 'CLISCALE_API_KEY' } }))
    expect(line).toBe('export URL=http://127.0.0.1:7080')
  })
})

test('quote makes one shell word of any text', () => {
  expect(quote(`a'b`)).toBe(`'a'\\''b'`)
})
