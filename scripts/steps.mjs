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

/**
 * Like `step` for several at once: each prints its name and how long it took when it ends. Ends when all have ended;
 * if any failed, throws the error of the first in the list.
 *
 * @param {Record<string, () => Promise<unknown>>} steps by name
 */
export async function stepsAtOnce(steps) {
  const began = Date.now()
  const runs = Object.entries(steps).map(async ([name, run]) => {
    const end = (word) => process.stdout.write(`  ${name} … ${word} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`)
    try {
      await run()
      end('done')
    } catch (error) {
      end('failed')
      throw error
    }
  })
  const failed = (await Promise.allSettled(runs)).find(({ status }) => status === 'rejected')
  if (failed) throw failed.reason
}
