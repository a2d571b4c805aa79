#!/usr/bin/env node
/** The sample workload's command line. `node index.js run` takes about twelve seconds; see `--help`. */
import { parseArgs } from 'node:util'
import { answer } from './src/answer.js'
import { panel } from './src/panel.js'
import { bold, dim, green, red } from './src/paint.js'
import { stages } from './src/stages.js'

const HELP = `Usage: node index.js run [options]

Shows staged progress, colours, a part that follows the size of the terminal, and answers PROMPT.

  --exit N        end with exit code N (0 to 255)
  --seconds N     how long the part that follows resizes takes (default 6, at most 3600)
  --prompt TEXT   instead of the environment's PROMPT
  --help          this text

Environment: PROMPT; ANTHROPIC_API_KEY to ask Claude; ANTHROPIC_MODEL to choose a model; NO_COLOR for plain text.
`

/** Wrong use: one sentence, exit code 2. */
class UsageError extends Error {}

function readArguments(argv) {
  const options = {
    exit: { type: 'string' },
    seconds: { type: 'string' },
    prompt: { type: 'string' },
    help: { type: 'boolean' },
  }
  let parsed
  try {
    parsed = parseArgs({ args: argv, options, allowPositionals: true })
  } catch (error) {
    throw new UsageError(error.message)
  }
  const { values, positionals } = parsed
  if (values.help) return { help: true }
  if (positionals.length !== 1 || positionals[0] !== 'run') throw new UsageError('The one command is "run".')
  return {
    exitCode: wholeNumber('--exit', values.exit, 255),
    seconds: wholeNumber('--seconds', values.seconds, 3600) ?? 6,
    prompt: values.prompt ?? process.env.PROMPT ?? '',
  }
}

function wholeNumber(name, text, max) {
  if (text === undefined) return undefined
  if (!/^\d{1,6}$/.test(text) || Number(text) > max)
    throw new UsageError(`${name} takes a whole number from 0 to ${max}.`)
  return Number(text)
}

async function run({ exitCode, seconds, prompt }) {
  const began = Date.now()
  console.log(`\n${bold('CLI Scale sample')}  ${dim('staged progress, colours, resizes, an answer, an exit code')}\n`)
  const facts = await stages()
  await panel(seconds)
  const answered = await answer(prompt, facts)
  const code = exitCode ?? (answered ? 0 : 1)
  const word = code === 0 ? green('Done') : red('Ended')
  console.log(`\n${word} in ${((Date.now() - began) / 1000).toFixed(1)} s with exit code ${code}.`)
  return code
}

/** Ends at once on a signal, with the cursor shown and the exit code that shells use for it. */
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
]) {
  process.once(signal, () => {
    if (process.stdout.isTTY) process.stdout.write('\u001b[?25h')
    console.log(`\nStopped by ${signal}.`)
    process.exit(code)
  })
}

try {
  const wanted = readArguments(process.argv.slice(2))
  if (wanted.help) console.log(HELP)
  else process.exitCode = await run(wanted)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message} Try: node index.js --help`)
  process.exitCode = 2
}
