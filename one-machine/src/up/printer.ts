/** What a person sees of `cliscale up`. */
export interface Printer {
  line(text: string): void
  /** Runs one step: says its name at once, and how long it took on the same line. */
  step<T>(name: string, run: () => Promise<T>): Promise<T>
}

/** A printer that writes to `out`. */
export function createPrinter(out: { write(text: string): unknown }, now: () => number = Date.now): Printer {
  return {
    line: (text) => void out.write(`${text}\n`),
    step: async (name, run) => {
      const began = now()
      out.write(`  ${name} … `)
      const end = (word: string): void => {
        out.write(`${word} (${((now() - began) / 1000).toFixed(1)} s)\n`)
      }
      try {
        const result = await run()
        end('done')
        return result
      } catch (error) {
        end('failed')
        throw error
      }
    },
  }
}
