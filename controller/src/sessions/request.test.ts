import { describe, expect, test } from '@jest/globals'
import { type AppError, isAppError } from '@cliscale/contract'
import { parseNewSession, parseNewToken } from './request.ts'

const POLICY = {
  fetchPolicy: { codeHosts: [], unsafeHosts: [], localFolders: true },
  requireChecksum: false,
  images: {},
}

function refusal(body: unknown): AppError {
  try {
    parseNewSession(body, POLICY)
  } catch (error) {
    if (isAppError(error)) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('a request for a session', () => {
  test('may give the size of its terminal', () => {
    expect(parseNewSession({ command: 'x', columns: 1000, rows: 1 }, POLICY).order).toMatchObject({
      columns: 1000,
      rows: 1,
    })
    expect(parseNewSession({ command: 'x' }, POLICY).order).not.toHaveProperty('columns')
  })

  test.each([
    [{ columns: 0 }, 'columns'],
    [{ columns: 1001 }, 'columns'],
    [{ columns: 80.5 }, 'columns'],
    [{ columns: '80' }, 'columns'],
    [{ columns: null }, 'columns'],
    [{ rows: 501 }, 'rows'],
    [{ rows: -1 }, 'rows'],
    [{ cols: 80 }, 'cols'],
  ])('is refused with a size that no terminal can have: %j', (size, path) => {
    expect(refusal({ command: 'x', ...size }).errors).toEqual([expect.objectContaining({ path })])
  })

  test('becomes a work order, byte for byte', () => {
    const command = 'echo "$HOME" \'x\' \\\n  `id` ✓ \u001b[0m'
    const { order, timeoutSeconds, shownCodeUrl } = parseNewSession(
      {
        command,
        code_url: ' https://example.com/code.zip?sig=secret ',
        code_checksum_sha256: 'AB'.repeat(32),
        prompt: '',
        install_cmd: '',
        env: { constructor: 'x', _: '', A_1: 'ü' },
        timeout_seconds: 1,
      },
      POLICY,
    )
    expect(order).toEqual({
      command,
      codeUrl: 'https://example.com/code.zip?sig=secret',
      checksumSha256: 'ab'.repeat(32),
      prompt: '',
      installCmd: '',
      env: { constructor: 'x', _: '', A_1: 'ü' },
    })
    expect([timeoutSeconds, shownCodeUrl]).toEqual([1, 'https://example.com/code.zip'])
  })

  test('may leave out everything except the command', () => {
    const { order, timeoutSeconds, shownCodeUrl } = parseNewSession({ command: 'x' }, POLICY)
    const none = { codeUrl: null, checksumSha256: null, prompt: null, installCmd: null, env: {} }
    expect(order).toEqual({ command: 'x', ...none })
    expect([timeoutSeconds, shownCodeUrl]).toEqual([3600, null])
  })

  test('may name a local folder where that is allowed', () => {
    expect(parseNewSession({ command: 'x', code_url: '/srv/code' }, POLICY).shownCodeUrl).toBe('/srv/code')
  })

  test('is refused with the code of its first fault and a list of all', () => {
    const error = refusal({ comand: 'x', env: { 'A=canary': 'x', PROMPT: 'x' }, timeout_seconds: '5m' })
    expect(error.code).toBe('unknown_field')
    expect(error.errors).toEqual([
      { path: 'comand', message: 'is not a known field. Did you mean command?' },
      { path: 'command', message: 'is required' },
      { path: 'timeout_seconds', message: 'must be a whole number, got a string' },
      { path: 'env.A=…', message: 'must start with a letter or _ and contain only letters, digits and _' },
      { path: 'env.PROMPT', message: 'is set from the field "prompt"; use that field' },
    ])
    expect(error.detail).toBe(
      'comand is not a known field. Did you mean command? There are 4 more faults: see "errors".',
    )
  })

  test.each([
    ['prmopt', 'prompt'],
    ['code-url', 'code_url'],
    ['CODEURL', 'code_url'],
    ['install_command', undefined],
    ['x', undefined],
    ['', undefined],
    ['a'.repeat(100_000), undefined],
  ])('that misspells a field as %.20j is answered with the likely one', (name, meant) => {
    const { errors = [] } = refusal({ command: 'x', [name]: 1 })
    expect(/Did you mean (\w+)\?/.exec(errors[0]!.message)?.[1]).toBe(meant)
    expect(errors[0]!.path.length).toBeLessThan(70)
  })
})

describe('a request for a token', () => {
  test('is read-write unless it says otherwise', () => {
    expect([undefined, {}, { mode: 'rw' }, { mode: 'ro' }].map((body) => parseNewToken(body).mode)).toEqual([
      'rw',
      'rw',
      'rw',
      'ro',
    ])
  })

  test.each([null, [], 'ro', { mode: 'x' }, { mode: null }, { mod: 'ro' }])('is refused as %j', (body) => {
    expect(() => parseNewToken(body)).toThrow(/^(body_not_object|invalid_field|unknown_field): /)
  })
})

describe('the checksum of a code_url', () => {
  const hex = 'ab'.repeat(32)
  const url = `https://x.example/a.tgz?sig=s3cr3t#sha256=${hex.toUpperCase()}`

  test('may follow "#", also where it is required', () => {
    const body = { command: 'x', code_url: url }
    const { order, shownCodeUrl } = parseNewSession(body, { ...POLICY, requireChecksum: true })
    expect(order).toMatchObject({ codeUrl: url, checksumSha256: null })
    expect(shownCodeUrl).toBe('https://x.example/a.tgz')
    parseNewSession({ ...body, code_checksum_sha256: hex }, POLICY)
  })

  test('must equal code_checksum_sha256', () => {
    const error = refusal({ command: 'x', code_url: url, code_checksum_sha256: '0'.repeat(64) })
    expect(error.errors).toEqual([
      { path: 'code_checksum_sha256', message: 'differs from the SHA-256 after "#" in code_url: keep one of them' },
    ])
  })

  test.each(['https://x.example/r.git#main', 'https://gitlab.com/g/r/-/tree/main', 'git+https://x.example/r'])(
    'is refused for %s, where a commit can be fixed instead',
    (code_url) => {
      const error = refusal({ command: 'x', code_url, code_checksum_sha256: hex })
      expect(error.errors).toEqual([
        { path: 'code_checksum_sha256', message: expect.stringContaining('is not a single file') },
      ])
    },
  )

  test('a ref that no repository can have is refused at once', () => {
    const error = refusal({ command: 'x', code_url: 'https://github.com/o/r/tree/-o/x' })
    expect(error.code).toBe('url_invalid')
    expect(error.errors).toEqual([{ path: 'code_url', message: expect.stringMatching(/^names "-o".*starts with "-"/) }])
  })
})

describe('an image', () => {
  const images = { node20: 'runner', shell: 'ttyd' } as const
  const withImages = (body: unknown) => parseNewSession(body, { ...POLICY, images })
  const refused = (body: unknown, of: typeof images | Record<string, never> = images) => {
    try {
      parseNewSession(body, { ...POLICY, images: of })
    } catch (error) {
      if (isAppError(error)) return error.errors
      throw error
    }
    throw new Error('it was accepted')
  }

  test('that is not on the list is refused, and the message gives the list but not the name that was sent', () => {
    for (const image of ['canary', 'toString', '__proto__', '', 'Node20']) {
      const message = 'must be one of "node20", "shell", or left out'
      expect(refused({ command: 'x', image })).toEqual([{ path: 'image', message }])
    }
    expect(refused({ image: 'canary' })).toHaveLength(1)
  })

  test('is refused where no list exists', () => {
    expect(refused({ command: 'x', image: 'node20' }, {})).toEqual([
      { path: 'image', message: 'cannot be chosen: this server allows only its own image; leave it out' },
    ])
  })

  test.each([1, null, ['shell'], {}])('cannot be named by %j', (image) => {
    expect(refused({ command: 'x', image })).toEqual([
      { path: 'image', message: expect.stringMatching(/^must be a string, got/) },
    ])
  })

  test('that brings its own terminal refuses every field that it would ignore', () => {
    const all = { command: 'x', code_url: 'ftp://x', prompt: 'x', env: { PROMPT: 'x' }, install_cmd: '' }
    const errors = refused({ image: 'shell', ...all, code_checksum_sha256: '0'.repeat(64), timeout_seconds: 5 })
    expect(errors?.map(({ path }) => path)).toEqual([
      'command',
      'code_url',
      'code_checksum_sha256',
      'install_cmd',
      'prompt',
      'env',
    ])
    for (const { message } of errors ?? []) expect(message).toContain('brings its own terminal')
  })

  test('of either kind makes a session of that kind', () => {
    expect(withImages({ image: 'shell', timeout_seconds: 5 })).toMatchObject({
      kind: 'ttyd',
      image: 'shell',
      order: null,
      timeoutSeconds: 5,
    })
    const runner = withImages({ image: 'node20', command: 'x' })
    expect(runner).toMatchObject({ kind: 'runner', image: 'node20', order: { command: 'x' } })
    expect(withImages({ command: 'x' })).toMatchObject({ kind: 'runner', image: null })
    expect(refused({ image: 'node20' })).toEqual([{ path: 'command', message: 'is required' }])
  })
})
