import { expect, test } from '@jest/globals'
import { type CodeUrl, parseCodeUrl } from '../src/code-url.ts'
import { isAppError } from '../src/errors.ts'
import { gitRefFault } from '../src/git-ref.ts'

const PARTS =
  'https:// HTTPS:// git+https:// http:// github.com gitlab.com x.example [::1] : 443 22 / // /o /r .git /tree /-/ src branch main -o .. %2e%2e %2F %00 %zz %23 ? ref= & = # #sha256= :sub @v1 .tar.gz .zip /blob /pull/1 \u202e é \ud800 semver: 0123456789012345678901234567890123456789'.split(
    ' ',
  )
const STARTS = ['', 'https://x.example/o/r', 'https://github.com/o/r', 'https://user:s3cr3t@github.com/o/r']
const POLICY = { codeHosts: [], unsafeHosts: [], localFolders: false }

/** Why a result is wrong; undefined when it is a refusal with a code, or leads to https and a name that git allows. */
function faultOf(text: string): string | undefined {
  let code: CodeUrl
  try {
    code = parseCodeUrl(text, POLICY)
  } catch (error) {
    if (!isAppError(error)) return String(error)
    return error.code.startsWith('url_') && !error.detail.includes('s3cr3t') ? undefined : error.detail
  }
  if (code.kind === 'folder' || !code.url.startsWith('https://')) return code.kind
  if (code.kind === 'git' && code.place.kind === 'ref') return gitRefFault(code.place.ref ?? 'HEAD')
  return JSON.stringify(code).includes('s3cr3t') ? 'a secret' : undefined
}

test('any combination of URL parts is either refused with a code or safe to fetch', () => {
  let seed = 7
  const random = (n: number): number => (seed = (seed * 48_271) % 2_147_483_647) % n
  const faults: (readonly [string, string | undefined])[] = []
  for (let i = 0; i < Number(process.env['FUZZ_COUNT'] ?? 5000); i += 1) {
    const tail = Array.from({ length: random(9) }, () => PARTS[random(PARTS.length)]).join('')
    const text = (STARTS[random(STARTS.length)] ?? '') + tail
    const fault = faultOf(text)
    if (fault !== undefined) faults.push([text, fault])
  }
  expect(faults).toEqual([])
})
