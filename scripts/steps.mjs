/** Says what happens while it happens: one line for each step, with its seconds. */

const started = Date.now()

/** Seconds since this process began, as text. */
export function elapsed() {
  return seconds(Date.now() - started)
}

/**
 * Runs one step. On a terminal its line stands there while it runs; elsewhere it is printed when the step is done.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function step(name, run) {
  const began = Date.now()
  const live = process.stdout.isTTY === true
  if (live) process.stdout.write(`  ${name} …`)
  const line = (word) => `${live ? '\r\u001b[K' : ''}  ${name} ${word} (${seconds(Date.now() - began)})\n`
  try {
    const result = await run()
    process.stdout.write(line('done'))
    return result
  } catch (error) {
    process.stdout.write(line('failed'))
    throw error
  }
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`
}
