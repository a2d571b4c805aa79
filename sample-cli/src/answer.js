/** Answers the prompt: Claude where a key is there, else a plain word about it and what was found on the way. */
import ora from 'ora'
import { askClaude, ClaudeError } from './claude.js'
import { bold, cyan, dim, red, yellow } from './paint.js'

const DEFAULT_PROMPT = 'In three sentences: what makes a good command-line program?'

/** Resolves to false when an answer was asked for and did not come. */
export async function answer(prompt, facts) {
  console.log()
  const key = process.env.ANTHROPIC_API_KEY
  if (!key) {
    withoutKey(prompt, facts)
    return true
  }
  const question = prompt.trim() === '' ? DEFAULT_PROMPT : prompt
  console.log(`${bold('Prompt')}  ${question}`)
  const spinner = ora({ text: 'Asking Claude', discardStdin: false }).start()
  try {
    let first = true
    await askClaude(question, key, (text) => {
      if (first) spinner.succeed('Claude answers')
      first = false
      process.stdout.write(cyan(text))
    })
    console.log()
    return true
  } catch (error) {
    if (!(error instanceof ClaudeError)) throw error
    spinner.stop()
    console.log(red(`Claude did not answer: ${error.message}`))
    return false
  }
}

function withoutKey(prompt, facts) {
  console.log(yellow('ANTHROPIC_API_KEY is not set, so Claude is not asked.'))
  console.log(dim('To have the prompt answered, start the session with "env": {"ANTHROPIC_API_KEY": "…"}.'))
  console.log(`\n${bold('What this program was given')}`)
  const words = prompt.split(/\s+/).filter((word) => word !== '')
  const rows = {
    prompt: prompt.trim() === '' ? 'none' : `${prompt.trim()} (${words.length} words)`,
    session: process.env.CLISCALE_SESSION_ID ?? 'none: started by hand',
    machine: facts.system,
    processors: facts.processors,
    memory: facts.memory,
    'code here': facts.code,
  }
  for (const [name, value] of Object.entries(rows)) console.log(`  ${dim(name.padEnd(11))} ${value}`)
}
