import { createHash } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { order, runOnce } from './relay-peer.ts'

const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')
const NUMBERS = `${Array.from({ length: 20_000 }, (_, i) => i + 1).join('\r\n')}\r\n`

describe('work delivers', () => {
  test('every byte and the exact code, in 50 runs of a command that prints much and exits at once', async () => {
    for (let round = 0; round < 10; round++) {
      const results = await Promise.all(Array.from({ length: 5 }, () => runOnce(order('seq 1 20000; exit 3'))))
      for (const { output, exit } of results) {
        expect(sha(output)).toBe(sha(NUMBERS))
        expect(exit).toMatchObject({ exitCode: 3, signal: null, offset: output.length, phase: 'command' })
      }
    }
  }, 120_000)

  test('the output of the command as it was given, byte for byte', async () => {
    const text = `a'b"c\\d$HOME\`date\`\n\ttab ü 💥 *?[x] !! #no \\n %s`
    const command = `printf %s '${text.replaceAll("'", `'\\''`)}'\nprintf '\\n[%s][%s]' "$0" "$#"`
    const { output } = await runOnce(order(command))
    expect(output.toString()).toBe(`${text}\n[bash][0]`.replaceAll('\n', '\r\n'))
  })

  test.each([
    ['a dash', '-x; true', 127],
    ['a plus', '+x', 127],
    ['two dashes', '--version', 127],
  ])('the result of a command that begins with %s', async (_, command, code) => {
    expect((await runOnce(order(command))).exit.exitCode).toBe(command.includes('true') ? 0 : code)
  })

  test('the result of a command of 64 KiB with an environment of 256 KiB', async () => {
    const env = Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`BIG_${i}`, String(i).repeat(65_000)]))
    const comment = '#'.repeat(65_400)
    const { output, exit } = await runOnce(
      order(`printf '%s' "\${#BIG_0} \${#BIG_3} \${#PROMPT}"\n${comment}`, { env, prompt: 'p'.repeat(65_536) }),
    )
    expect(output.toString()).toBe('65000 65000 65536')
    expect(exit.exitCode).toBe(0)
  })

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGINT', 'SIGPIPE'] as const)('the name of %s', async (signal) => {
    const { exit, output } = await runOnce(order(`printf before; kill -s ${signal.slice(3)} $$`))
    expect(exit).toMatchObject({ exitCode: null, signal })
    expect(output.toString()).toBe('before')
  })

  test('50 MB intact', async () => {
    const { output, exit } = await runOnce(order(`yes 0123456789abcdef | head -c 50000000`))
    expect(exit.exitCode).toBe(0)
    const line = '0123456789abcdef\n'
    const plain = line.repeat(Math.ceil(50_000_000 / line.length)).slice(0, 50_000_000)
    expect(sha(output)).toBe(sha(plain.replaceAll('\n', '\r\n')))
  }, 60_000)
})

describe('the environment of the command', () => {
  test('has what is promised, and nothing of work’s own', async () => {
    const given = order('env -0; exec 3</dev/null; ls /proc/self/fd | tr "\\n" " "', {
      prompt: 'hello\nworld',
      env: { MINE: 'x y', TERM: 'dumb' },
    })
    const { output } = await runOnce(given, { env: { CANARY: 'leaked', NODE_OPTIONS: '--no-warnings', AWS_KEY: 'x' } })
    const entries = output.toString().split('\0')
    const names = entries.slice(0, -1).map((entry) => entry.slice(0, entry.indexOf('=')))
    expect(new Set(names)).toEqual(
      new Set(
        // bash sets the last three itself.
        'PATH HOME USER LANG SHELL TERM COLORTERM TMPDIR CLISCALE_SESSION_ID PROMPT CLISCALE_PROMPT MINE PWD SHLVL _'.split(
          ' ',
        ),
      ),
    )
    expect(entries).toContain('MINE=x y')
    expect(entries).toContain('TERM=dumb')
    expect(entries).toContain('PROMPT=hello\r\nworld')
    expect(entries).toContain(`CLISCALE_SESSION_ID=${given.sessionId}`)
    expect(entries.at(-1)!.trim()).toBe('0 1 2 3 4') // 3 is its own, 4 the folder that ls reads
  })

  test('has what version managers need, unless the order says otherwise', async () => {
    const given = order('echo $RUSTUP_HOME $PYENV_ROOT [$CARGO_HOME]', { env: { PYENV_ROOT: '/mine' } })
    const env = { RUSTUP_HOME: '/usr/local/rustup', PYENV_ROOT: '/opt/pyenv', CARGO_HOME: '/usr/local/cargo' }
    expect((await runOnce(given, { env })).output.toString()).toBe('/usr/local/rustup /mine []\r\n')
  })

  test('prints nothing before the command, whatever the shell settings', async () => {
    const { output } = await runOnce(order('echo hi', { env: { SHELLOPTS: 'xtrace', PS4: '+' } }))
    // root's bash does not take PS4 from the environment
    expect(output.toString().replace('+ ', '+')).toBe('+echo hi\r\nhi\r\n')
  })
})
