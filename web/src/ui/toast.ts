import { byId, make } from './dom.ts'

const SHOWN_MS = 5_000

/** Shows a sentence for a few seconds; with `action`, a button too, and for a little longer. */
export function toast(text: string, action?: { readonly label: string; readonly run: () => void }): void {
  const list = byId('toasts')
  // A repeated toast replaces the earlier one, so that a program cannot fill the page.
  for (const other of list.children) if (other.getAttribute('data-text') === text) other.remove()
  const box = make('div', { class: 'toast', 'data-text': text }, make('span', {}, text))
  if (action !== undefined) {
    const button = make('button', { type: 'button', class: 'text-button' }, action.label)
    button.addEventListener('click', () => {
      box.remove()
      action.run()
    })
    box.append(button)
  }
  list.append(box)
  while (list.children.length > 3) list.firstElementChild?.remove()
  setTimeout(() => box.remove(), action === undefined ? SHOWN_MS : SHOWN_MS * 2)
}
