import { make } from './dom.ts'

export interface Question {
  readonly title: string
  readonly body: readonly (Node | string)[]
  readonly confirm: string
  /** With an address, the confirm button is a link that opens it in a new tab, which cannot reach this one. */
  readonly href?: string
  /** Another button, which does something and leaves the dialog open. */
  readonly extra?: { readonly label: string; readonly run: (button: HTMLButtonElement) => void }
}

/** Asks in a modal dialog; Escape and "Cancel" mean no. Only one is open at a time: a second question resolves to false. */
export function ask(question: Question): Promise<boolean> {
  if (document.querySelector('dialog[open]') !== null) return Promise.resolve(false)
  const before = document.activeElement
  const cancel = make('button', { type: 'button', class: 'button' }, 'Cancel')
  const confirm = confirmButton(question)
  const extra = extraButton(question)
  const dialog = make(
    'dialog',
    { class: 'dialog', 'aria-labelledby': 'dialog-title' },
    make('h2', { id: 'dialog-title' }, question.title),
    ...question.body,
    make('div', { class: 'dialog-buttons' }, ...extra, cancel, confirm),
  )
  document.body.append(dialog)
  return new Promise((resolve) => {
    let answer = false
    confirm.addEventListener('click', () => {
      answer = true
      // Later, so that the browser follows the link first.
      setTimeout(() => dialog.close())
    })
    cancel.addEventListener('click', () => dialog.close())
    dialog.addEventListener('close', () => {
      dialog.remove()
      if (before instanceof HTMLElement) before.focus()
      resolve(answer)
    })
    dialog.showModal()
    cancel.focus()
  })
}

function confirmButton({ confirm, href }: Question): HTMLElement {
  if (href === undefined) return make('button', { type: 'button', class: 'button primary' }, confirm)
  return make('a', { class: 'button primary', href, target: '_blank', rel: 'noopener noreferrer' }, confirm)
}

function extraButton({ extra }: Question): HTMLElement[] {
  if (extra === undefined) return []
  const button = make('button', { type: 'button', class: 'button extra' }, extra.label)
  button.addEventListener('click', () => extra.run(button))
  return [button]
}
