/** Random output of programs, good and hostile, from the grammar of escape sequences. Equal seeds give equal output. */
export class Grammar {
  readonly #random: () => number
  readonly #hostile: boolean

  /** @param hostile whether counts go up to 2^31 where a plain xterm.js repeats work, and strings are long. */
  constructor(seed: number, hostile: boolean) {
    this.#random = mulberry32(seed)
    this.#hostile = hostile
  }

  /** About `bytes` of output. */
  output(bytes: number): Uint8Array {
    const pieces: Buffer[] = []
    for (let length = 0; length < bytes;) {
      const piece = this.#piece()
      pieces.push(piece)
      length += piece.length
    }
    return Buffer.concat(pieces)
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #piece(): Buffer {
    const repeated = this.#hostile && this.below(20) === 0 ? 1 + this.below(200) : 1
    const piece = Buffer.from(this.#pick(PIECES)(this), 'utf8')
    return Buffer.concat(Array.from({ length: repeated }, () => piece))
  }

  #pick<T>(from: ArrayLike<T>): T {
    return from[this.below(from.length)] as T
  }

  text(): string {
    return Array.from({ length: 1 + this.below(60) }, () => this.#pick(CHARACTERS)).join('')
  }

  joined(): string {
    return `e${'\u0301'.repeat(1 + this.below(this.#hostile ? 5_000 : 8))}`
  }

  control(): string {
    return this.#pick('\n\r\b\t\v\f\x0e\x0f\x07\x18\x1a\x84\x85\x88\x8d')
  }

  escape(): string {
    return `\x1b${this.#pick(['7', '8', 'D', 'E', 'H', 'M', '=', '>', 'c', 'n', 'o', '~', '#8', '(0', '(B', ')0', '%G'])}`
  }

  csi(): string {
    const final = this.#pick('@ABCDEFGHIJKLMPSTXZ`abcdefghlmnrsu')
    const params = Array.from({ length: this.below(4) }, () => this.#count(final)).join(this.#pick(';;;:'))
    return `\x1b[${params}${this.#pick(['', '', '', '', '', ' ', '"', "'", '!', '?', '$'])}${final}`
  }

  mode(): string {
    const mode = this.#pick([1, 3, 6, 7, 12, 25, 45, 47, 1000, 1004, 1006, 1047, 1048, 1049, 2004, 2026, 2147483647])
    return `\x1b[?${mode}${this.#pick('hl')}`
  }

  region(): string {
    return `\x1b[${this.below(30)};${this.below(60)}r`
  }

  sgr(): string {
    const colour = `${this.#pick(['38', '48', '58'])};2;${this.below(256)};${this.below(256)};${this.below(256)}`
    return `\x1b[${this.#pick(['0', '1', '4:3', '7', '31', '42', '91', '22;23', colour, '1;'.repeat(this.below(100))])}m`
  }

  string(): string {
    const start = this.#pick([
      '\x1b]0;',
      '\x1b]2;',
      '\x1b]8;;http://x/',
      '\x1b]8;id=1;http://y/',
      '\x1b]4;1;',
      '\x1b]52;c;',
    ])
    const other = this.#pick(['\x1bP$q', '\x1bPq', '\x1bX', '\x1b^', '\x1b_', '\x1b]', '\x1b]99999999999;'])
    const body = 'a'.repeat(this.below(this.#hostile && this.below(50) === 0 ? 200_000 : 300))
    const end = this.#pick(['\x07', '\x1b\\', '\x1b\\', '\x9c', '\x18', '\x1b'])
    return `${this.below(2) === 0 ? start : other}${body}${this.below(this.#hostile ? 10 : 100) === 0 ? '' : end}`
  }

  /** Up to 2^31, but small where a plain terminal would work for minutes. */
  #count(final: string): number | '' {
    const kind = this.below(10)
    if (kind === 0) return ''
    if (kind < 6) return this.below(12)
    const most = this.#hostile || !'LMSTIZb'.includes(final) ? 2 ** 31 - 1 : 300
    return this.#pick([0, 1, 79, 80, 81, 299, most, Math.floor(this.#random() * most)])
  }
}

const CHARACTERS = Array.from('abcdefghij KLMNOPQRST 0123456789 .,-=│─┌漢字かな한é🥲👩\u200d\u0301\ufe0f')
const PIECES: readonly ((grammar: Grammar) => string)[] = [
  (g) => g.text(),
  (g) => g.text(),
  (g) => `${g.text()}\r\n`,
  (g) => g.joined(),
  (g) => g.control(),
  (g) => g.escape(),
  (g) => g.csi(),
  (g) => g.csi(),
  (g) => g.csi(),
  (g) => g.mode(),
  (g) => g.region(),
  (g) => g.sgr(),
  (g) => g.string(),
]

function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
