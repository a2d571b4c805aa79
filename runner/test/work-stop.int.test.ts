import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from '@jest/globals'
import { PtyRun, type RunExit } from '../src/worker/pty-run.ts'
import { findSessionProcesses } from '../src/worker/session-processes.ts'
import { order, runOnce } from './relay-peer.ts'

const dir = mkdtempSync(path.join(os.tmpdir(), 'cs-stop-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const { PATH = '/usr/bin:/bin' } = process.env
const program = (on: string): string =>
  `process.${on}('SIGTERM', () => setTimeout(() => { console.log('cleaned up'); process.exit(7) }, 400))\n` +
  `setInterval(() => {}, 1e6)\nconsole.log('up')\n`
writeFileSync(path.join(dir, 'x.js'), program('on'))
writeFileSync(path.join(dir, 'once.js'), program('once'))
writeFileSync(
  path.join(dir, 'package.json'),
  JSON.stringify({ name: 'x', version: '1.0.0', scripts: { start: 'node x.js', once: 'node once.js; echo after' } }),
)

// Each starts the next; only the last one ends the line.
writeFileSync(
  path.join(dir, 'line.js'),
  `const level = Number(process.argv[2])
process.on('SIGTERM', () => level > 1 ? console.log('asked') : setTimeout(() => { console.log('cleaned up'); process.exit(8) }, 400))
setInterval(() => {}, 1e6)
if (level === 1) console.log('up')
else require('child_process').spawn('node', ['line.js', level - 1], { stdio: 'inherit' }).on('exit', (code) => process.exit(code))
`,
)

// Says a lot when it is asked to end.
writeFileSync(
  path.join(dir, 'words.py'),
  `import signal, sys, time
def say(*_):
    for n in range(1, 201): print('word', n)
    sys.exit(0)
signal.signal(signal.SIGTERM, say)
print('up', file=sys.stderr, flush=True)
while True: time.sleep(100)
`,
)

// What is left is done by the worker, which a signal would end: as in a pool, or a queue that is drained.
writeFileSync(
  path.join(dir, 'master.py'),
  `import signal, subprocess, sys, time
worker = subprocess.Popen([sys.executable, '-c', 'for n in iter(input, ""): print("done", n, flush=True)'],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def do(task):
    worker.stdin.write(task + '\\n'); worker.stdin.flush(); return worker.stdout.readline()
def drain(*_):
    until = time.monotonic() + 2.5
    while time.monotonic() < until: sys.argv[1:] == ['busy'] or time.sleep(2.5)
    print('cleaned up' if do('last') == 'done last\\n' else 'failed', flush=True)
    sys.exit(6)
do('first')
signal.signal(signal.SIGTERM, drain)
print('up', flush=True)
while True: time.sleep(100)
`,
)

interface Ended {
  readonly exit: RunExit
  readonly output: string
  /** From the stop to the end. */
  readonly tookMs: number
  readonly sessionId: string
}

/** Runs a command in a terminal; with `stopAt`, stops it as soon as its output holds that. */
async function run(command: string, stop?: { at: string; graceMs: number }): Promise<Ended> {
  const sessionId = randomUUID()
  const env = { PATH, HOME: dir, TERM: 'xterm-256color', LANG: 'C.UTF-8', CLISCALE_SESSION_ID: sessionId }
  let output = ''
  let stoppedAtMs: number | undefined
  const running = PtyRun.start({
    command,
    cwd: dir,
    env,
    bash: '/bin/bash',
    size: { columns: 80, rows: 24 },
    session: { sessionId },
    sweepTermMs: 500,
    onOutput: (bytes) => {
      output += bytes.toString()
      if (stop === undefined || stoppedAtMs !== undefined || !output.includes(stop.at)) return
      stoppedAtMs = Date.now()
      running.stop(stop.graceMs)
    },
  })
  const exit = await running.exit
  return { exit, output, tookMs: Date.now() - (stoppedAtMs ?? Infinity), sessionId }
}

const TERMINATED = { exitCode: null, signal: 'SIGTERM' }
const HUNG_UP = { exitCode: null, signal: 'SIGHUP' }

describe('a stop', () => {
  test.concurrent.each([
    ['a program', 'node x.js', { exitCode: 7, signal: null }],
    ['npm start', 'npm start --silent', TERMINATED],
    [
      'npm under a shell, of a program that would end at a second SIGTERM',
      'npm run --silent once; echo after',
      TERMINATED,
    ],
    ['a shell in a shell', `sh -c 'node x.js; echo after'; echo after`, TERMINATED],
    ['a pipeline', 'node x.js | tee log | cat; echo after', TERMINATED],
    ['a pipeline into a substitution', 'node x.js > >(tee log); echo after', TERMINATED],
    ['a job that is waited for', 'node x.js & wait; echo after', TERMINATED],
    ['a job that left the terminal', 'setsid node x.js & sleep 100; echo after', TERMINATED],
    [
      'a program that is stopped',
      `node -e 'require("./x.js"); process.kill(process.pid, "SIGSTOP")'`,
      { exitCode: 7, signal: null },
    ],
    [
      'a script of another language',
      `python3 -c 'import subprocess; subprocess.run(["node", "x.js"]); print("after")'`,
      TERMINATED,
    ],
    ['a job of an interactive shell', `bash --norc --noprofile -ic 'node x.js; echo after'`, HUNG_UP],
    ['a trap that waits for its program', `trap 'echo bye; exit 3' TERM; node once.js`, { exitCode: 3, signal: null }],
    [
      'a trap that ends its program',
      `trap 'kill $p; wait $p; exit 5' TERM; node once.js & p=$!; wait $p`,
      { exitCode: 5, signal: null },
    ],
    [
      'a trap that starts programs',
      `trap 'bash -c "sleep 0.3; echo cleaned up"; exit 4' TERM; echo up; sleep 100`,
      { exitCode: 4, signal: null },
    ],
    [
      'a master whose workers do what is left, and handle no signal',
      'python3 master.py',
      { exitCode: 6, signal: null },
    ],
    ['the last of three programs that pass nothing on', 'node line.js 3', { exitCode: 8, signal: null }],
    ['the last of four programs that pass nothing on', 'node line.js 4', { exitCode: 8, signal: null }],
    [
      'a master below a shell whose trap waits for it',
      `trap 'exit 9' TERM; python3 master.py`,
      { exitCode: 9, signal: null },
    ],
    [
      'a master that computes before its workers do what is left',
      'python3 master.py busy',
      { exitCode: 6, signal: null },
    ],
    [
      'a program that says a lot at its end',
      `node -e 'process.on("SIGTERM", () => process.stdout.write("x".repeat(2e6) + "\\ncleaned up\\n", () => process.exit(2))); process.stdin.resume(); console.log("up")'`,
      { exitCode: 2, signal: null },
    ],
  ])(
    'lets %s finish',
    async (_, command, exit) => {
      const ended = await run(command, { at: 'up', graceMs: 10_000 })
      expect(ended.output.includes('cleaned up')).toBe(true)
      expect(ended.output.includes('after')).toBe(false)
      expect(ended.exit).toEqual(exit)
      expect(ended.tookMs).toBeLessThan(9000)
    },
    60_000,
  )

  // The trap takes more than half of the grace.
  const trap = `trap 'sleep 6; echo cleaned up; exit 3' TERM; echo up`
  const inShells = ['bash', 'dash', 'ash', 'busybox sh', 'ksh', 'mksh', 'zsh']
    .filter((shell) => PATH.split(':').some((folder) => existsSync(path.join(folder, shell.split(' ')[0]!))))
    .flatMap((shell) => [
      [`${shell} that reads what a program prints`, `${shell} sub.sh`],
      [`${shell} that reads a pipe from its program`, `${shell} read.sh`],
      [`${shell} that waits for a job`, `${shell} wait.sh`],
    ])
  writeFileSync(path.join(dir, 'sub.sh'), `${trap}; out=$(sleep 100); echo after`)
  writeFileSync(path.join(dir, 'read.sh'), `${trap}; mkfifo $$; sleep 100 > $$ & read line < $$; echo after`)
  writeFileSync(path.join(dir, 'wait.sh'), `${trap}; sleep 100 & wait; echo after`)
  writeFileSync(path.join(dir, 'script'), `#!/bin/sh\n${trap}; out=$(sleep 100); echo after`, { mode: 0o755 })

  test.concurrent.each([...inShells, ['script that names its shell', './script']])(
    'leaves the time for its trap to a %s',
    async (_, command) => {
      const ended = await run(command, { at: 'up', graceMs: 10_000 })
      expect(ended.output).toContain('cleaned up')
      expect(ended.output).not.toContain('after')
      expect(ended.exit).toEqual({ exitCode: 3, signal: null })
    },
    60_000,
  )

  test.concurrent.each([
    ['bash', 'bash --norc', '# '],
    ['dash', 'dash -i', '# '],
    ['a shell in a shell', `bash --norc --noprofile -ic 'bash --norc -i'`, '# '],
  ])(
    'hangs up on an interactive %s',
    async (_, command, prompt) => {
      const ended = await run(command, { at: process.getuid?.() === 0 ? prompt : '$ ', graceMs: 10_000 })
      expect(ended.exit).toEqual(HUNG_UP)
      expect(ended.tookMs).toBeLessThan(5000)
    },
    60_000,
  )

  test.concurrent.each([
    ['that ignores SIGTERM', `trap '' TERM; echo up; while :; do sleep 0.1; done`],
    ['under a shell that does not', `(trap '' TERM; echo up; sleep 100); echo after`],
    ['that takes too long', `trap 'sleep 100' TERM; echo up; sleep 100`],
  ])(
    'gives a program %s its grace period, and no more',
    async (_, command) => {
      const ended = await run(command, { at: 'up', graceMs: 1000 })
      expect(ended.exit).toEqual({ exitCode: null, signal: 'SIGKILL' })
      expect(ended.tookMs).toBeGreaterThanOrEqual(1000)
      expect(ended.tookMs).toBeLessThan(6000)
      expect(await findSessionProcesses(ended)).toEqual([])
    },
    60_000,
  )

  test.concurrent.each([
    ['a loop', `while read -r l; do echo "got $l"; sleep 0.01; done`],
    ['a loop that runs programs', `while read -r l; do echo "$(date +%s) got $l"; done`],
    ['a slow program', `python3 -uc 'import sys,time\nfor l in sys.stdin: time.sleep(0.005); print("got", l, end="")'`],
    ['a program that buffers', `grep -v nothing | sed 's/^/got /'`],
  ])(
    'lets %s read what a program says at its end',
    async (_, reader) => {
      const ended = await run(`python3 words.py | ${reader}`, { at: 'up', graceMs: 10_000 })
      expect(ended.output).toContain('got word 200\r\n')
      expect(ended.tookMs).toBeLessThan(9000)
    },
    60_000,
  )

  test('asks what a loop runs for each line, when that takes long', async () => {
    const job = `bash -c 'trap "echo job asked; exit" TERM; echo up; while :; do sleep 0.1; done'`
    const ended = await run(`yes | while read -r l; do ${job}; done`, { at: 'up', graceMs: 10_000 })
    expect(ended.output).toContain('job asked')
    expect(ended.tookMs).toBeLessThan(5000)
  }, 60_000)

  test('reaches a process that left environment, terminal, session and parents', async () => {
    const pidFile = path.join(dir, 'pid')
    const escape = `(env -i setsid bash -c 'trap "" TERM HUP; echo $$ > pid; sleep 300' </dev/null >/dev/null 2>&1 &)`
    const ended = await run(`${escape}; while ! [ -s pid ]; do sleep 0.05; done; echo up; sleep 100`, {
      at: 'up',
      graceMs: 500,
    })
    expect(isAlive(Number(readFileSync(pidFile, 'utf8')))).toBe(false)
    expect(ended.exit).toEqual(TERMINATED)
  })
})

describe('an end by a signal', () => {
  const signals = [1, 2, 3, 6, 9, 11, 13, 15, 16, 24, 29, 31, 32, 33, 34, 35, 49, 50, 63, 64]

  test('is reported by the shell’s name for it', async () => {
    const { output } = await run('for i in $(seq 64); do echo "$i $(kill -l $i)"; done')
    const names = new Map(output.split('\r\n').map((line) => line.split(' ') as [string, string]))
    await inBatches(signals, async (signal) => {
      const { exit } = await run(`ulimit -c 0; (sleep 0.1; kill -${signal} $$) & exec sleep 30`)
      // Two have no name in the shell, only a number.
      expect(exit).toEqual({ exitCode: null, signal: `SIG${names.get(String(signal)) || signal}` })
    })
  }, 60_000)

  test.each([129, 137, 143, 162, 192, 255])('differs from an exit with code %i', async (code) => {
    expect((await run(`exit ${code}`)).exit).toEqual({ exitCode: code, signal: null })
  })

  test('without a name in Node fails an install', async () => {
    const { exit, output } = await runOnce(order('echo never', { installCmd: 'kill -34 $$' }))
    expect(exit).toMatchObject({ phase: 'install', exitCode: null, signal: 'SIGRTMIN' })
    expect(output.toString()).not.toContain('never')
    expect(output.toString()).not.toContain('installed')
  })
})

async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += 5) await Promise.all(items.slice(i, i + 5).map(work))
}

/** A zombie that nobody has reaped counts as gone. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
