import { describe, expect, test } from '@jest/globals'
import { checksumOf, parseCodeUrl } from './code-url.ts'
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
    ['https://www.github.com/owner/repo/tree/main?tab=readme', 'owner', 'repo', 'main'],
    ['HTTPS://github.com/owner/repo/tree/main#', 'owner', 'repo', 'main'],
    ['https://github.com/owner/repo.git/tree/feature%2Fa%23b/x', 'owner', 'repo', 'feature/a#b/x'],
    ['https://github.com/o/r/tree/main/app/[slug]/*.x', 'o', 'r', 'main/app/[slug]/*.x'],
    ['https://github.com/o/r/tree/main/src/branch/x.zip', 'o', 'r', 'main/src/branch/x.zip'],
    [
      'https://github.com/o/r/commit/0123456789abcdef0123456789abcdef01234567',
      'o',
      'r',
      '0123456789abcdef0123456789abcdef01234567',
    ],
    ['https://github.com/o/r/commit/ABC1234', 'o', 'r', 'abc1234'],
    ['https://github.com./owner/repo/tree/main', 'owner', 'repo', 'main'],
    ['https://GitHub.com/Owner/re.po/tree/v1.0/my%20folder', 'Owner', 're.po', 'v1.0/my folder'],
    ['https://github.com/o/r/tree/a;b/$(id)', 'o', 'r', 'a;b/$(id)'],
  ])('the tree URL %s', (text, owner, repo, refAndPath) => {
    expect(parseCodeUrl(text, open)).toMatchObject({
      kind: 'github-tree',
      origin: 'https://github.com',
      owner,
      repo,
      refAndPath,
      sha256: null,
    })
  })

  const main = { kind: 'ref-and-path', refAndPath: 'main/a/b', among: 'all' }
  const sha = '0123456789abcdef0123456789abcdef01234567'
  test.each([
    ['https://gitlab.com/group/sub/repo/-/tree/main/a/b', 'https://gitlab.com/group/sub/repo.git', main],
    [
      'https://gitlab.com/g/r/-/tree/main/a/b?ref_type=heads',
      'https://gitlab.com/g/r.git',
      { ...main, among: 'heads' },
    ],
    ['https://gitlab.com/g/r/tree/main/a/b/', 'https://gitlab.com/g/r.git', main],
    ['https://git.corp.example:8443/g/s/t/r/-/tree/main/a/b', 'https://git.corp.example:8443/g/s/t/r.git', main],
    [
      'https://git.corp.example/o/r/src/branch/main/a/b',
      'https://git.corp.example/o/r.git',
      { ...main, among: 'heads' },
    ],
    [
      'https://git.corp.example/sub/o/r/src/tag/main/a/b',
      'https://git.corp.example/sub/o/r.git',
      { ...main, among: 'tags' },
    ],
    ['https://codeberg.org/o/r/src/branch/main/a/b', 'https://codeberg.org/o/r.git', { ...main, among: 'heads' }],
    [
      `https://codeberg.org/o/r/src/commit/${sha}/a`,
      'https://codeberg.org/o/r.git',
      { kind: 'ref', ref: sha, folder: 'a' },
    ],
    ['https://bitbucket.org/o/r/src/main/a/b?at=main', 'https://bitbucket.org/o/r.git', main],
    ['https://bitbucket.org/o/r/src/branch/x', 'https://bitbucket.org/o/r.git', { ...main, refAndPath: 'branch/x' }],
    ['https://git.corp.example/o/r/src/main/a/b', 'https://git.corp.example/o/r.git', main],
    [`https://gitlab.com/g/r/-/commit/${sha}`, 'https://gitlab.com/g/r.git', { kind: 'ref', ref: sha, folder: '' }],
    [
      'https://gitlab.com/g/r/-/merge_requests/7/diffs',
      'https://gitlab.com/g/r.git',
      { kind: 'ref', ref: 'refs/merge-requests/7/head', folder: '' },
    ],
    [
      'https://github.com/o/r/pull/12/files',
      'https://github.com/o/r.git',
      { kind: 'ref', ref: 'refs/pull/12/head', folder: '' },
    ],
    [
      'https://codeberg.org/o/r/pulls/12',
      'https://codeberg.org/o/r.git',
      { kind: 'ref', ref: 'refs/pull/12/head', folder: '' },
    ],
  ])('the page %s as a place in a repository', (text, url, place) =>
    expect(parseCodeUrl(text, open)).toMatchObject({ kind: 'git', url, place }),
  )

  test.each([
    ['https://x.example/r.git#main', 'https://x.example/r.git', 'main', '', 'https://x.example/r.git#main'],
    [
      'https://x.example/r.git/#feature/a/b',
      'https://x.example/r.git',
      'feature/a/b',
      '',
      'https://x.example/r.git#feature/a/b',
    ],
    ['https://x.example/r.git#fix%231', 'https://x.example/r.git', 'fix#1', '', 'https://x.example/r.git#fix#1'],
    ['https://x.example/r.git?ref=v1.0', 'https://x.example/r.git', 'v1.0', '', 'https://x.example/r.git#v1.0'],
    ['https://x.example/r.git?ref=v1#v1', 'https://x.example/r.git', 'v1', '', 'https://x.example/r.git#v1'],
    [
      'https://x.example/r.git#v1:sub/dir/',
      'https://x.example/r.git',
      'v1',
      'sub/dir',
      'https://x.example/r.git#v1:sub/dir',
    ],
    ['https://x.example/r.git#:sub', 'https://x.example/r.git', null, 'sub', 'https://x.example/r.git#sub'],
    ['https://x.example/r.git#HEAD', 'https://x.example/r.git', null, '', 'https://x.example/r.git'],
    ['https://x.example/r.git#', 'https://x.example/r.git', null, '', 'https://x.example/r.git'],
    ['git+https://github.com/o/r#v1', 'https://github.com/o/r.git', 'v1', '', 'https://github.com/o/r.git#v1'],
    ['git+https://x.example/a/b/c#v1', 'https://x.example/a/b/c', 'v1', '', 'https://x.example/a/b/c#v1'],
    ['GIT+HTTPS://x.example/r.git', 'https://x.example/r.git', null, '', 'https://x.example/r.git'],
    ['https://github.com/o/r#dev', 'https://github.com/o/r.git', 'dev', '', 'https://github.com/o/r.git#dev'],
    ['https://github.com/o/r?ref=dev', 'https://github.com/o/r.git', 'dev', '', 'https://github.com/o/r.git#dev'],
    [
      'https://gitlab.com/g/s/t/r/#dev',
      'https://gitlab.com/g/s/t/r.git',
      'dev',
      '',
      'https://gitlab.com/g/s/t/r.git#dev',
    ],
    [
      'https://gist.github.com/me/0123456789abcdef0123456789abcdef',
      'https://gist.github.com/me/0123456789abcdef0123456789abcdef.git',
      null,
      '',
      'https://gist.github.com/me/0123456789abcdef0123456789abcdef.git',
    ],
    [
      'https://bücher.example/r.git',
      'https://xn--bcher-kva.example/r.git',
      null,
      '',
      'https://xn--bcher-kva.example/r.git',
    ],
  ])('the repository %s with its ref', (text, url, ref, folder, display) =>
    expect(parseCodeUrl(text, open)).toEqual({ kind: 'git', url, display, place: { kind: 'ref', ref, folder } }),
  )

  test('a page of another host as a page of that host, however much its name resembles GitHub', () => {
    for (const host of ['github.com.evil.example', 'xn--gthub-cua.com'])
      expect(parseCodeUrl(`https://${host}/o/r/tree/main`, open)).toMatchObject({ origin: `https://${host}` })
  })

  test('a SHA-256 after an archive or a tree', () => {
    const hex = 'AB'.repeat(32)
    for (const address of ['https://x.example/a.tar.gz', 'https://github.com/o/r/tree/main'])
      expect(checksumOf(parseCodeUrl(`${address}#sha256=${hex}`, open))).toBe(hex.toLowerCase())
    expect(parseCodeUrl(`https://x.example/a.tgz?k=1#sha256=${hex}`, open)).toMatchObject({
      url: 'https://x.example/a.tgz?k=1',
      display: 'https://x.example/a.tgz',
    })
    expect(checksumOf(parseCodeUrl('https://x.example/a.tgz', open))).toBeNull()
    expect(checksumOf(parseCodeUrl('https://x.example/r.git', open))).toBeNull()
  })

  test.each([
    ['https://example.com/a/b.zip', 'archive'],
    ['https://example.com/B.ZIP?X-Amz-Signature=abc', 'archive'],
    ['https://example.com/b.tar.gz', 'archive'],
    ['https://example.com/b.tar', 'archive'],
    ['https://example.com:8443/b.tgz', 'archive'],
    ['https://8.8.8.8/b.tgz', 'archive'],
    ['https://[2606:4700:4700::1111]/b.tgz', 'archive'],
    ['https://github.com/o/r/archive/refs/heads/main.zip', 'archive'],
    ['https://github.com/o/r/releases/download/v1.0/app.tar.gz', 'archive'],
    ['https://github.com/o/r/raw/main/app.zip', 'archive'],
    ['https://github.com/o/r/blob/main/app.zip?raw=true', 'archive'],
    ['https://github.com/o/r/zipball/main', 'archive'],
    ['https://api.github.com/repos/o/r/tarball/feature/x', 'archive'],
    ['https://api.github.com/repos/o/r/zipball', 'archive'],
    ['https://codeload.github.com/o/r/tar.gz/refs/heads/main', 'archive'],
    ['https://codeload.github.com/o/r/legacy.tar.gz/main', 'archive'],
    ['https://codeload.github.com/o/r/zip/main', 'archive'],
    ['https://gitlab.com/g/r/-/archive/main/r-main.tar.gz', 'archive'],
    ['https://gitlab.com/g/r/-/jobs/artifacts/main/download?job=build', 'archive'],
    ['https://bitbucket.org/o/r/get/main.tar.gz', 'archive'],
    ['https://codeberg.org/o/r/archive/main.zip', 'archive'],
    ['https://example.com/download?file=code.tar.gz', 'archive'],
    ['https://example.com/get?id=17', 'archive'],
    ['https://example.com/?p=r.git;a=snapshot;sf=tgz', 'archive'],
    ['https://sourceforge.example/projects/x/files/x.tar.gz/download', 'archive'],
    ['https://crates.example/api/v1/crates/x/1.0.0/download', 'archive'],
    ['https://cdn.example/files/v1/src/x.tar.gz', 'archive'],
    ['https://cdn.example/a/b/tree/x.zip', 'archive'],
    ['https://gitlab.com/group/sub/repo.git', 'git'],
    ['https://github.com/owner/repo', 'git'],
    ['https://github.com/owner/repo/?tab=readme', 'git'],
    // U32: only the last segment's suffix makes a repository.
    ['https://x.github.io/a.zip', 'archive'],
    ['https://example.com/mirror.git/a.tar.gz', 'archive'],
  ])('%s as %s', (text, kind) => expect(parseCodeUrl(text, open).kind).toBe(kind))

  test('a GitHub repository page as a clone from its .git address', () => {
    expect(parseCodeUrl('https://github.com/owner/repo/', open)).toMatchObject({
      url: 'https://github.com/owner/repo.git',
    })
  })

  test('a signed URL, and keeps its query for the fetch but hides it from people', () => {
    const parsed = parseCodeUrl('https://example.com/b.zip?sig=s3cr3t', open)
    expect(parsed).toMatchObject({ url: 'https://example.com/b.zip?sig=s3cr3t', display: 'https://example.com/b.zip' })
  })

  test('a local folder where the policy allows local folders', () => {
    expect(parseCodeUrl('/home/me/my code/', laptop)).toEqual({
      kind: 'folder',
      path: '/home/me/my code',
      display: '/home/me/my code',
    })
    expect(parseCodeUrl('/a//b/./c/.', laptop)).toMatchObject({ path: '/a/b/c' })
    expect(parseCodeUrl('/', laptop)).toMatchObject({ path: '/' })
  })

  test.each([
    ['http://127.0.0.1:8080/a.zip', 'archive'],
    ['https://127.0.0.1:8080/a.zip', 'archive'],
    ['http://[::1]:8080/r.git', 'git'],
    ['https://ghe.corp/o/r/tree/main/x', 'github-tree'],
  ])('%s on a host:port that the operator listed', (text, kind) => expect(parseCodeUrl(text, laptop).kind).toBe(kind))
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
    ['kind', 'https://github.com/o/r/issues', 'url_invalid'],
    ['kind', 'https://github.com/o/r/commits/main', 'url_invalid'],
    ['kind', 'https://github.com/o/r/releases/tag/v1', 'url_invalid'],
    ['kind', 'https://gitlab.com/g/r/-/issues/1', 'url_invalid'],
    ['kind', 'https://gitlab.com/g/r/-/tree/', 'url_invalid'],
    ['kind', 'https://gitlab.com/g/r/-/blob/main/a.js', 'url_invalid'],
    ['kind', 'https://git.corp.example/group/repo', 'url_invalid'],
    ['kind', 'https://gist.github.com/me', 'url_invalid'],
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

  const trees = ['https://github.com/o/r/tree/', 'https://gitlab.com/g/r/-/tree/', 'https://x.example/o/r/src/branch/']
  const bad = '-o -upload-pack=x .hidden x.lock a~1 a^ a:b %3Fx *x a[b a@{1} %40 a..b a. %40%7Bu%7D main%00 a%20b'
  test.each(
    bad
      .split(' ')
      .flatMap((ref) =>
        [...trees, 'https://x.example/r.git#', 'https://x.example/r.git?ref='].map((base) => base + ref),
      )
      .filter((text) => !text.endsWith('#a:b')),
  )('a ref that no repository can have: %s', (text) => expect(refusal(text).code).toBe('url_invalid'))

  test('a ref that breaks one of git’s rules, however long it is', () => {
    expect(refusal('https://github.com/o/r/tree/-o/x').detail).toBe(
      'code_url names "-o" as a branch, tag or commit, which no repository can have: it starts with "-".',
    )
    expect(refusal('https://x.example/r.git#a//b').detail).toContain('has an extra "/"')
    expect(refusal('https://x.example/r.git#a/').detail).toContain('has an extra "/"')
    expect(refusal('https://x.example/r.git#a/b.lock/c').detail).toContain('ends with ".lock"')
    expect(refusal(`https://x.example/r.git#-${'x'.repeat(1000)}`).detail.length).toBeLessThan(250)
    // Only its first part certainly belongs to the ref.
    expect(refusal('https://github.com/o/r/tree/main/-o/x.lock').code).toBe('accepted')
  })

  test.each([
    ['https://x.example/b.tgz#x', '#sha256='],
    ['https://x.example/b.tgz#sha256=abc', '#sha256='],
    ['https://x.example/b.tgz#md5=abc', '#sha256='],
    ['https://github.com/o/r/tree/main#top', '#sha256='],
    ['https://gitlab.com/g/r/-/tree/main#top', 'from "#" on'],
    ['https://x.example/r.git#semver:^1.0', '"semver"'],
    ['https://x.example/r.git#egg=name', '"egg"'],
    [`https://x.example/r.git#sha256=${'a'.repeat(64)}`, '"sha256"'],
    ['https://x.example/r.git#main:../x', '"."'],
    ['https://x.example/r.git#%zz', 'percent sign'],
    ['https://x.example/r.git#a%00', 'control character'],
    ['https://x.example/r.git@v1.0', 'after "#"'],
    ['https://x.example/r.git?ref=a#b', 'Keep one'],
    ['https://x.example/r.git?ref=a&ref=b', '?ref='],
    ['https://x.example/r.git?ref=a&token=s3cr3t', '?ref='],
    ['http://github.com/o/r', 'https://'],
    ['github:o/r', 'https://github.com/owner/repo#ref'],
    ['git+ssh://git@github.com/o/r.git', 'https address'],
    ['git+https://user:s3cr3t@github.com/o/r.git', 'credentials'],
    ['https://s3cr3t@github.com/o/r.git#main', 'credentials'],
    ['https://github.com/o/r/blob/main/a.js', 'tree URL of its folder'],
    ['https://github.com/o/r/releases/tag/v1', 'page of a release'],
    ['https://git.corp.example/group/repo', '.git'],
  ])('%s and says what to do', (text, words) => {
    const { code, detail } = refusal(text)
    expect(code).toMatch(/^url_/)
    expect(detail).toContain(words)
    expect(detail).not.toContain('s3cr3t')
  })

  test('U6 without showing the credentials, and never shows a signed query', () => {
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

  test('credentials and unknown schemes even for a listed host', () => {
    expect(refusal('http://u:p@127.0.0.1:8080/a.zip', laptop).code).toBe('url_credentials')
    expect(refusal('ftp://127.0.0.1:8080/a.zip', laptop).code).toBe('url_scheme')
  })
})

describe('CLISCALE_CODE_HOSTS', () => {
  const narrow: FetchPolicy = { codeHosts: ['github.com', '.corp.example'], unsafeHosts: [], localFolders: false }
  test.each([
    ['https://github.com/o/r/tree/main', 'accepted'],
    ['https://codeload.github.com/o/r/zip/main', 'accepted'],
    ['https://api.github.com/repos/o/r/tarball/main', 'accepted'],
    ['https://gist.github.com/me/0123456789abcdef0123456789abcdef', 'url_host'],
    ['git+https://example.com/o/r', 'url_host'],
    ['https://a.corp.example/x.zip', 'accepted'],
    ['https://corp.example/x.zip', 'url_host'],
    ['https://evilcorp.example/x.zip', 'url_host'],
    ['https://raw.github.com/x.zip', 'url_host'],
    ['https://example.com/x.zip', 'url_host'],
  ])('answers %s with %s', (text, code) => expect(refusal(text, narrow).code).toBe(code))

  test('names the allowed hosts in its refusal', () => {
    expect(refusal('https://example.com/x.zip', narrow).detail).toContain('github.com, .corp.example')
  })
})

test.each(['./sample-cli', '../x', '~/x', '.'])(
  'refuses %s and says how to write a folder where folders are allowed',
  (text) => {
    expect(refusal(text, laptop)).toMatchObject({ code: 'url_invalid', detail: expect.stringContaining('whole path') })
    expect(refusal(text).detail).toContain('must start with https://')
  },
)
