import { describe, expect, test } from '@jest/globals'
import { CreateSessionRequest, CreateTokenRequest, LIMITS, refusedEnvName } from './api.ts'

const messages = (value: unknown): string[] => {
  const result = CreateSessionRequest.safeParse(value)
  return result.success ? [] : result.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`)
}

describe('CreateSessionRequest', () => {
  test.each([
    [{ command: '' }, 'command: must not be empty'],
    [{ command: '  \n' }, 'command: must not be empty'],
    [{ command: 'a\0b' }, 'command: must not contain a NUL character (\\u0000)'],
    [{ command: '\ud800' }, 'command: must be valid Unicode: it contains half of a surrogate pair'],
    [{ command: 'x'.repeat(65_537) }, 'command: must be at most 65536 bytes of UTF-8, got 65537'],
    [{ command: 'é'.repeat(32_769) }, 'command: must be at most 65536 bytes of UTF-8, got 65538'],
  ])('refuses a bad command and says why', (value, message) => {
    expect(messages(value)).toContain(message)
  })

  test.each([-1, 0, 86_401, 1e9, 1.5, '5m', Number.NaN])('refuses timeout_seconds %p', (timeout_seconds) => {
    expect(messages({ command: 'x', timeout_seconds })).toHaveLength(1)
  })

  test.each(['a'.repeat(63), 'a'.repeat(65), `sha1-${'a'.repeat(59)}`, 'g'.repeat(64)])(
    'refuses the checksum %p',
    (sum) => {
      expect(messages({ command: 'x', code_checksum_sha256: sum })).toHaveLength(1)
    },
  )

  test('accepts the largest value of every field', () => {
    const value = {
      command: 'x'.repeat(LIMITS.commandBytes),
      prompt: 'é'.repeat(LIMITS.promptBytes / 2),
      install_cmd: '',
    }
    expect(messages({ ...value, code_checksum_sha256: 'A'.repeat(64), timeout_seconds: 86_400 })).toEqual([])
  })

  test('refuses __proto__ like any other unknown field', () => {
    expect(messages(JSON.parse('{"command":"x","__proto__":{"a":1}}'))).not.toEqual([])
  })
})

test('makes a token read-write by default', () => {
  expect(CreateTokenRequest.parse({})).toEqual({ mode: 'rw' })
  expect(CreateTokenRequest.safeParse({ mode: 'admin' }).success).toBe(false)
})

test.each(['A=B', '1X', '', 'A B', 'PROMPT', 'CLISCALE_X', 'LD_PRELOAD', 'DYLD_INSERT_LIBRARIES', 'BASH_ENV', 'É'])(
  'refuses the environment name %p and says why',
  (name) => {
    expect(refusedEnvName(name)).toBeDefined()
  },
)
test.each(['A', '_', 'ANTHROPIC_API_KEY', 'prompt', 'PROMPT_2'])('accepts the environment name %p', (name) => {
  expect(refusedEnvName(name)).toBeUndefined()
})
