import { describe, expect, test } from '@jest/globals'
import { parseCodeUrl } from './code-url.ts'
import { isAppError } from './errors.ts'
import type { FetchPolicy } from './internal.ts'

const open: FetchPolicy = { codeHosts: [], unsafeHosts: [], localFolders: false }
const laptop: FetchPolicy = {
  codeHosts: [],
  unsafeHosts: ['127.0.0.1:8080', '[::1]:8080', 'ghe.corp:443'],
  localFolders: true,
}

function refusal(text: string, policy = open): { code: string; detail: string } {
  try {
    parseCodeUrl(text, policy)
  } catch (error) {
    if (isAppError(error)) return { code: error.code, detail: error.detail }
    throw error
  }
  return { code: 'accepted', detail: '' }
}

describe('parseCodeUrl accepts', () => {
  test.each([
    ['https://github.com/owner/repo/tree/main/folder', 'owner', 'repo', 'main/folder'],
    ['https://github.com/owner/repo/tree/main', 'owner', 'repo', 'main'],
    ['https://github.com/owner/repo/tree/feature/a/b/src/', 'owner', 'repo', 'feature/a/b/src'],
    ['https://www.github.com/owner/repo/tree/main?tab=readme#top', 'owner', 'repo', 'main'],
    ['https://github.com./owner/repo/tree/main', 'owner', 'repo', 'main'],
    ['https://GitHub.com/Owner/re.po/tree/v1.0/my%20folder', 'Owner', 're.po', 'v1.0/my folder'],
    ['https://github.com/o/r/tree/-o', 'o', 'r', '-o'],
    ['https://github.com/o/r/tree/a;b/$(id)', 'o', 'r', 'a;b/$(id)'],
  ])('the tree URL %s', (text, owner, repo, refAndPath) => {
    expect(parseCodeUrl(text, open)).toMatchObject({
      kind: 'github-tree',
      origin: 'https://github.com',
      owner,
      repo,
      refAndPath,
    })
  })

  test.each([
    ['https://example.com/a/b.zip', 'zip'],
    ['https://example.com/B.ZIP?X-Amz-Signature=abc', 'zip'],
    ['https://example.com/b.tar.gz', 'tar-gz'],
    ['https://example.com:8443/b.tgz#x', 'tar-gz'],
    ['https://8.8.8.8/b.tgz', 'tar-gz'],
    ['https://github.com/o/r/archive/refs/heads/main.zip', 'zip'],
    ['https://codeload.github.com/o/r/tar.gz/refs/heads/main', 'tar-gz'],
    ['https://codeload.github.com/o/r/zip/main', 'zip'],
    ['https://gitlab.com/group/sub/repo.git', 'git'],
    ['https://github.com/owner/repo', 'git'],
    ['https://github.com/owner/repo/?tab=readme', 'git'],
    // U32: only the last segment's suffix makes a repository.
    ['https://x.github.io/a.zip', 'zip'],
    ['https://example.com/mirror.git/a.tar.gz', 'tar-gz'],
  ])('%s as %s', (text, kind) => expect(parseCodeUrl(text, open).kind).toBe(kind))

  test('a repository page of GitHub is cloned by its .git address', () => {
    expect(parseCodeUrl('https://github.com/owner/repo/', open)).toMatchObject({
      url: 'https://github.com/owner/repo.git',
    })
  })

  test('a signed URL keeps its query for the fetch and not for people', () => {
    const parsed = parseCodeUrl('https://example.com/b.zip?sig=s3cr3t', open)
    expect(parsed).toMatchObject({ url: 'https://example.com/b.zip?sig=s3cr3t', display: 'https://example.com/b.zip' })
  })

  test('a folder where the policy has local folders', () => {
    expect(parseCodeUrl('/home/me/my code/', laptop)).toEqual({
      kind: 'folder',
      path: '/home/me/my code',
      display: '/home/me/my code',
    })
    expect(parseCodeUrl('/a//b/./c/.', laptop)).toMatchObject({ path: '/a/b/c' })
    expect(parseCodeUrl('/', laptop)).toMatchObject({ path: '/' })
  })

  test.each([
    ['http://127.0.0.1:8080/a.zip', 'zip'],
    ['https://127.0.0.1:8080/a.zip', 'zip'],
    ['http://[::1]:8080/r.git', 'git'],
    ['https://ghe.corp/o/r/tree/main/x', 'github-tree'],
  ])('%s of a host:port that the operator listed', (text, kind) => expect(parseCodeUrl(text, laptop).kind).toBe(kind))
})

describe('parseCodeUrl refuses', () => {
  test.each([
    ['U1', 'file:///etc/passwd', 'url_scheme'],
    ['U2', 'gopher://example.com/a.zip', 'url_scheme'],
    ['U3', 'data:application/zip;base64,UEsFBg==', 'url_scheme'],
    ['U4', 'ftp://example.com/a.zip', 'url_scheme'],
    ['U5', 'http://example.com/a.zip', 'url_scheme'],
    ['U6', 'https://u:p4ss@github.com/o/r', 'url_credentials'],
    ['U7', 'https://2130706433/a.zip', 'url_host'],
    ['U8', 'https://0x7f.1/a.zip', 'url_host'],
    ['U9', 'https://017700000001/a.zip', 'url_host'],
    ['U10', 'https://0/a.zip', 'url_host'],
    ['U11', 'https://[::1]/a.zip', 'url_host'],
    ['U12', 'https://[::ffff:a9fe:a9fe]/a.zip', 'url_host'],
    ['U13', 'https://[::127.0.0.1]/a.zip', 'url_host'],
    ['U14', 'https://[64:ff9b::a9fe:a9fe]/a.zip', 'url_host'],
    ['U15', 'https://[fd00:ec2::254]/a.zip', 'url_host'],
    ['U16', 'https://①②⑦.⓪.⓪.①/a.zip', 'url_host'],
    ['U17', 'https://metadata.google.internal/a.zip', 'url_host'],
    ['U17', 'https://metadata/a.zip', 'url_host'],
    ['U17', 'https://metadata.google.internal./a.zip', 'url_host'],
    ['U17', 'https://kubernetes.default.svc/a.zip', 'url_host'],
    ['U17', 'https://api.cluster.local/a.zip', 'url_host'],
    ['U17', 'https://app.localhost/a.zip', 'url_host'],
    ['U17', 'https://127.0.0.1./a.zip', 'url_host'],
    ['U22', 'https://github.com.evil.example/o/r/tree/main', 'url_invalid'],
    ['U22', 'https://xn--gthub-cua.com/o/r/tree/main', 'url_invalid'],
    ['U23', 'https://example.com:22/a.zip', 'url_port'],
    ['U23', 'https://example.com:0/a.zip', 'url_port'],
    ['U23', 'https://example.com:99999/a.zip', 'url_port'],
    ['U23', 'https://example.com:80/a.zip', 'url_port'],
    ['U24', 'https://github.com/o/r/tree/../../x', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/%2e%2E/x', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/main/a%2f..%2fb', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/ma in', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/main\\..\\x', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/main%00', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/%zz', 'url_invalid'],
    ['U24', 'https://github.com/o/r/tree/', 'url_invalid'],
    ['U24', 'https://github.com/o;x/r/tree/main', 'url_invalid'],
    ['U31', `https://example.com/${'a'.repeat(2049 - 20 - 4)}.zip`, 'url_too_long'],
    ['G1', 'ext::sh -c touch% /tmp/x', 'url_invalid'],
    ['G1', 'ext::sh', 'url_scheme'],
    ['G2', 'file:///srv/r.git', 'url_scheme'],
    ['G3', 'ssh://-oProxyCommand=x/r.git', 'url_scheme'],
    ['G3', 'ssh://git@github.com/o/r.git', 'url_scheme'],
    ['G3', 'git@github.com:o/r.git', 'url_scheme'],
    ['G4', '--upload-pack=touch', 'url_invalid'],
    ['text', '', 'url_invalid'],
    ['text', 'github.com/o/r', 'url_invalid'],
    ['text', '//github.com/o/r', 'url_invalid'],
    ['text', 'https://', 'url_invalid'],
    ['text', 'https://exa\nmple.com/a.zip', 'url_invalid'],
    ['text', 'https://example..com/a.zip', 'url_host'],
    ['kind', 'https://example.com/', 'url_invalid'],
    ['kind', 'https://example.com/a.tar.xz', 'url_invalid'],
    ['kind', 'https://example.com/.zip', 'url_invalid'],
    ['kind', 'https://github.com/o/r/blob/main/a.js', 'url_invalid'],
    ['kind', 'https://github.com/o', 'url_invalid'],
    ['kind', 'https://example.com/r.git?service=x', 'url_invalid'],
    ['folder', '/etc', 'url_scheme'],
  ])('%s %s with %s', (_row, text, code) => expect(refusal(text).code).toBe(code))

  test('a folder with "..", a control character, or as a relative path', () => {
    expect(refusal('/a/../etc', laptop).code).toBe('url_invalid')
    expect(refusal('/a\0b', laptop).code).toBe('url_invalid')
    expect(refusal('./a', laptop).code).toBe('url_invalid')
    expect(refusal('~/a', laptop).code).toBe('url_invalid')
    expect(refusal('file:///home/me', laptop)).toMatchObject({ code: 'url_scheme' })
  })

  test('U6 without showing the credentials, and a signed query never', () => {
    expect(refusal('https://user:p4ss@github.com/o/r').detail).not.toMatch(/user:|p4ss/)
    for (const text of [
      'http://a.example/b.zip?k=s3cr3t',
      'https://10.0.0.1/b.zip?k=s3cr3t',
      'https://a.example/b?k=s3cr3t',
    ])
      expect(refusal(text).detail).not.toContain('s3cr3t')
  })

  test('another port of a host that the operator listed for one port', () => {
    expect(refusal('http://127.0.0.1:8081/a.zip', laptop).code).toBe('url_scheme')
    expect(refusal('https://127.0.0.1:8081/a.zip', laptop).code).toBe('url_host')
  })

  test('credentials and strange schemes also for a listed host', () => {
    expect(refusal('http://u:p@127.0.0.1:8080/a.zip', laptop).code).toBe('url_credentials')
    expect(refusal('ftp://127.0.0.1:8080/a.zip', laptop).code).toBe('url_scheme')
  })
})

describe('CLISCALE_CODE_HOSTS', () => {
  const narrow: FetchPolicy = { codeHosts: ['github.com', '.corp.example'], unsafeHosts: [], localFolders: false }
  test.each([
    ['https://github.com/o/r/tree/main', 'accepted'],
    ['https://codeload.github.com/o/r/zip/main', 'accepted'],
    ['https://a.corp.example/x.zip', 'accepted'],
    ['https://corp.example/x.zip', 'url_host'],
    ['https://evilcorp.example/x.zip', 'url_host'],
    ['https://raw.github.com/x.zip', 'url_host'],
    ['https://example.com/x.zip', 'url_host'],
  ])('%s is %s', (text, code) => expect(refusal(text, narrow).code).toBe(code))

  test('the refusal names the hosts that are allowed', () => {
    expect(refusal('https://example.com/x.zip', narrow).detail).toContain('github.com, .corp.example')
  })
})
