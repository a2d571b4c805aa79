/** What a person sees of `cliscale up`. */
export interface Printer {
  line(text: string): void
  /** Runs one step and says how long it took; on a terminal its line stands there while it runs. */
  step<T>(name: string, run: () => Promise<T>): Promise<T>
}

/** @param out where it goes; `isTerminal` lets a line be drawn anew. */
export function createPrinter(
  out: { write(text: string): unknown },
  isTerminal: boolean,
  now: () => number = Date.now,
): Printer {
  return {
    line: (text) => void out.write(`${text}\n`),
    step: async (name, run) => {
      const began = now()
      if (isTerminal) out.write(`  ${name} …`)
      const end = (word: string): void => {
        out.write(`${isTerminal ? '\r\u001b[K' : ''}  ${name} ${word} (${((now() - began) / 1000).toFixed(1)} s)\n`)
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
