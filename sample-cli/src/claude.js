/** Asks Claude by the Messages API (https://docs.anthropic.com/en/api/messages-streaming), with plain fetch. */

const TIMEOUT_MS = 120_000

/** Why there is no answer, in one sentence that never holds the key. */
export class ClaudeError extends Error {}

/**
 * Sends one prompt and hands each piece of the answer to `onText` as it arrives.
 *
 * @throws ClaudeError
 */
export async function askClaude(prompt, key, onText) {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new ClaudeError('ANTHROPIC_API_KEY holds characters that no key has.')
  const response = await request(prompt, key)
  if (!response.ok) throw new ClaudeError(await whyRefused(response))
  let any = false
  try {
    for await (const event of events(response.body)) {
      if (event.type === 'error') throw new ClaudeError(printable(event.error?.message ?? 'the answer broke off'))
      if (event.type !== 'content_block_delta' || event.delta?.type !== 'text_delta') continue
      any = true
      onText(printable(event.delta.text))
    }
  } catch (error) {
    if (error instanceof ClaudeError) throw error
    throw new ClaudeError(`the answer broke off (${error.cause?.code ?? error.name}).`)
  }
  if (!any) throw new ClaudeError('the answer was empty.')
}

async function request(prompt, key) {
  const base = process.env.ANTHROPIC_BASE_URL || 'https://api.anthropic.com'
  const model = process.env.ANTHROPIC_MODEL || 'claude-sonnet-4-5'
  try {
    return await fetch(new URL('/v1/messages', base), {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': key, 'anthropic-version': '2023-06-01' },
      body: JSON.stringify({ model, max_tokens: 1024, stream: true, messages: [{ role: 'user', content: prompt }] }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
  } catch (error) {
    const why = error.name === 'TimeoutError' ? 'nothing came for two minutes' : (error.cause?.code ?? error.name)
    throw new ClaudeError(`its server cannot be reached (${why}). Check the network.`)
  }
}

async function whyRefused(response) {
  if (response.status === 401) return 'the key in ANTHROPIC_API_KEY was not accepted.'
  if (response.status === 429) return 'too many requests with this key just now. Try again in a minute.'
  const body = await response.json().catch(() => ({}))
  const detail = typeof body?.error?.message === 'string' ? `: ${printable(body.error.message)}` : ''
  return `its server says ${response.status}${detail}`
}

/** Server-sent events with a JSON object each. */
async function* events(body) {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('data:')) yield JSON.parse(line.slice(5))
  }
}

/** Text from outside may not steer the terminal: control characters but line feed and tab are dropped. */
function printable(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
}
