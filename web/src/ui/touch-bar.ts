import type { TerminalView } from '../terminal/terminal-view.ts'
import { controlOf, type TouchKey, touchKeyData } from '../terminal/touch-keys.ts'
import { byId } from './dom.ts'
import { toast } from './toast.ts'

/** The row of keys under the terminal on touch screens. Ctrl applies to the next key, here or on the keyboard. */
export class TouchBar {
  readonly #view: TerminalView
  readonly #bar = byId('touch-bar')
  readonly #ctrl = byId('touch-ctrl')

  constructor(view: TerminalView) {
    this.#view = view
    // The terminal keeps the focus; without it the on-screen keyboard would close.
    this.#bar.addEventListener('pointerdown', (event) => event.preventDefault())
    for (const button of this.#bar.querySelectorAll<HTMLElement>('[data-key]')) {
      button.addEventListener('click', () => this.#press(button.dataset['key'] as TouchKey))
    }
    this.#ctrl.addEventListener('click', () => this.#hold(!this.#isHeld))
    byId('touch-paste').addEventListener('click', () => void this.#paste())
  }

  show(isUsable: boolean): void {
    this.#bar.hidden = !isUsable
  }

  /** What was typed, combined with Ctrl when that is on. */
  apply(data: string): string {
    if (!this.#isHeld) return data
    const control = controlOf(data)
    if (control !== undefined) this.#hold(false)
    return control ?? data
  }

  get #isHeld(): boolean {
    return this.#ctrl.getAttribute('aria-pressed') === 'true'
  }

  #hold(held: boolean): void {
    this.#ctrl.setAttribute('aria-pressed', String(held))
    this.#view.terminal.focus()
  }

  #press(key: TouchKey): void {
    const { terminal } = this.#view
    const ctrl = this.#isHeld
    this.#hold(false)
    terminal.input(touchKeyData(key, { ctrl, applicationCursor: terminal.modes.applicationCursorKeysMode }))
  }

  async #paste(): Promise<void> {
    let text: string
    try {
      text = await navigator.clipboard.readText()
    } catch {
      toast('The browser does not allow this page to read the clipboard')
      return
    }
    await this.#view.paste(text)
  }
}
