/**
 * Runs one step and says so while it happens: its name at once, and how long it took on the same line.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function step(name, run) {
  const began = Date.now()
  process.stdout.write(`  ${name} … `)
  const end = (word) => process.stdout.write(`${word} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
  try {
    const result = await run()
    end('done')
    return result
  } catch (error) {
    end('failed')
    throw error
  }
}
