/** What a person needs once everything runs: address, key, and lines to paste. */
export function greeting(facts: {
  address: string
  /** How a shell writes the key: a file's content or a variable. */
  key: { readonly file: string } | { readonly variable: string }
  sampleDir: string
  dataDir: string
  seconds: string
  /**
   * NODE_EXTRA_CA_CERTS of our environment. A session sees nothing of that, so behind a proxy with a certificate of its
   * own the sample could not be installed unless the line says so.
   */
  extraCaCerts?: string | undefined
}): string {
  const { address, key } = facts
  const env = facts.extraCaCerts ? { env: { NODE_EXTRA_CA_CERTS: facts.extraCaCerts } } : {}
  const body = JSON.stringify({ code_url: facts.sampleDir, command: 'node index.js run', ...env })
  const bearer = 'file' in key ? `$(cat ${quoteInside(key.file)})` : `$${key.variable}`
  // Quotes inside `$(…)` start anew: the outer ones are for shells that split what it gives.
  const keySetting = 'file' in key ? ` CLISCALE_API_KEY="$(cat ${quoteInside(key.file)})"` : ''
  const curl = [
    `curl -sS ${address}/api/sessions`,
    `-H "Authorization: Bearer ${bearer}"`,
    `-H 'Content-Type: application/json'`,
    `-d ${quote(body)}`,
  ].join(' ')
  return [
    '',
    `CLI Scale is ready at ${address} (${facts.seconds} s)`,
    '',
    `  API key      ${'file' in key ? key.file : `the environment's ${key.variable}`}`,
    `  data folder  ${facts.dataDir}`,
    '',
    'Paste this in another terminal, then open the terminalUrl of its answer:',
    '',
    `  ${curl}`,
    '',
    'For the other calls (README.md, "Use it"), this sets the address and the key:',
    '',
    `  export URL=${address}${keySetting}`,
    '',
    'Sessions run as you: they can read and change what your shell can. Start only programs that you trust.',
    'Ctrl-C ends everything, running sessions too.',
    '',
  ].join('\n')
}

/** One word for a shell, whatever it holds. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** The same; inside `$(…)` quotes start anew, also within double quotes (POSIX 2.6.3). */
function quoteInside(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : quote(text)
}
