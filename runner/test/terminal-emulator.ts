import headless, { type IBufferCell, type Terminal } from '@xterm/headless'
import type { ServerMessage, TerminalSize } from '@cliscale/contract'
import { useUnicode16 } from '@cliscale/contract/terminal-widths'

/** A terminal like the page's, without a display, fed with what a viewer was sent. */
export class TestEmulator implements Disposable {
  readonly terminal: Terminal
  readonly answers: string[] = []
  #queue: (() => Promise<void>)[] = []
  #running: Promise<void> | undefined

  constructor(size: TerminalSize) {
    this.terminal = new headless.Terminal({
      cols: size.columns,
      rows: size.rows,
      scrollback: 5000,
      allowProposedApi: true,
      logLevel: 'off',
    })
    useUnicode16(this.terminal)
    this.terminal.onData((data) => this.answers.push(data))
  }

  /** Takes a message as the page does. */
  take(message: ServerMessage): void {
    switch (message.type) {
      case 'hello':
        return this.#resize(message.hello)
      case 'size':
        return this.#resize(message.size)
      case 'data':
        return this.write(message.bytes)
      case 'snapshot':
        this.#do(async () => this.terminal.reset())
        return this.write(message.bytes)
      default:
    }
  }

  write(bytes: Uint8Array | string): void {
    this.#do(() => new Promise((resolve) => this.terminal.write(bytes, resolve)))
  }

  #resize(size: TerminalSize): void {
    this.#do(async () => this.terminal.resize(size.columns, size.rows))
  }

  #do(step: () => Promise<void>): void {
    this.#queue.push(step)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    for (let step = this.#queue.shift(); step; step = this.#queue.shift()) await step()
    this.#running = undefined
  }

  /** Resolves when everything taken so far is drawn. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running
  }

  /** Lines of screen and scrollback with the cursor and the modes that a person would notice. */
  picture(withLinks = true): unknown {
    const { terminal } = this
    const buffer = terminal.buffer.active
    const cell = buffer.getNullCell()
    const lines: string[] = []
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y)
      let colours = ''
      for (let x = 0; x < terminal.cols; x++) {
        const c = line?.getCell(x, cell)
        if (!c || c.getChars() === '') continue
        colours += `${c.getFgColor()}${c.isBold() ? 'b' : ''}${c.isInverse() ? 'i' : ''}${this.#underline(c, withLinks)},`
      }
      lines.push(`${line?.translateToString(true) ?? ''}|${colours}`)
    }
    return {
      lines,
      type: buffer.type,
      cursor: [buffer.cursorX, buffer.cursorY],
      base: buffer.baseY,
      size: [terminal.cols, terminal.rows],
      modes: { ...terminal.modes },
      hidden: this.#core.coreService.isCursorHidden,
      mouse: this.#core.coreMouseService.activeEncoding,
      style: this.#core.coreService.decPrivateModes.cursorStyle,
      title: this.#core._inputHandler._windowTitle,
      margins: [this.#core.buffer.scrollTop, this.#core.buffer.scrollBottom],
    }
  }

  /** Its style, colour and link, as far as it has them. */
  #underline(cell: IBufferCell, withLinks: boolean): string {
    const { bg, extended } = cell as unknown as RawCell
    if ((bg & HAS_EXTENDED) === 0) return ''
    // For a palette colour xterm.js keeps in the other bits what an earlier colour left there.
    const isPalette = (extended.underlineColor & 0x3000000) === 0x2000000
    const colour = extended.underlineColor & (isPalette ? 0x20000ff : 0x3ffffff)
    const underline = `u${(extended._ext >>> 26) & 7}:${colour.toString(16)}`
    if (!withLinks || extended.urlId === 0) return underline
    const link = this.#core._oscLinkService.getLinkData(extended.urlId)
    return `${underline}:${link?.id ?? ''}:${link?.uri ?? ''}`
  }

  get #core() {
    return (this.terminal as unknown as { _core: Internals })._core
  }

  [Symbol.dispose](): void {
    this.terminal.dispose()
  }
}

/** Whether a cell has more than text, colours and flags. */
const HAS_EXTENDED = 0x10000000
interface RawCell {
  readonly bg: number
  readonly extended: { readonly urlId: number; readonly underlineColor: number; readonly _ext: number }
}
interface Internals {
  _oscLinkService: { getLinkData(id: number): { id?: string; uri: string } | undefined }
  coreService: { isCursorHidden: boolean; decPrivateModes: { cursorStyle?: string } }
  coreMouseService: { activeEncoding: string }
  _inputHandler: { _windowTitle: string }
  buffer: { scrollTop: number; scrollBottom: number }
}
