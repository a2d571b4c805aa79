import { copyText } from './clipboard.ts'
import { make } from './dom.ts'

/** A command to paste into a shell, with a button that copies it. */
export function commandLine(command: string): HTMLElement {
  const button = make('button', { type: 'button', class: 'text-button' }, 'Copy')
  button.addEventListener('click', () => {
    void copyText(command).then((copied) => {
      button.textContent = copied ? 'Copied' : 'Select and copy it'
    })
  })
  return make('div', { class: 'command' }, make('code', { tabindex: '0' }, command), button)
}
