import { needsConfirm, pasteLines } from '../paste.ts'
import { ask } from './dialog.ts'
import { make } from './dom.ts'

const SHOWN_LINES = 8

/** Asks before several lines are pasted into a program that would run each at once. */
export async function confirmPaste(text: string, bracketedPaste: boolean): Promise<boolean> {
  if (!needsConfirm(text, bracketedPaste)) return true
  const lines = pasteLines(text)
  const shown = lines.slice(0, SHOWN_LINES).join('\n')
  const rest = lines.length > SHOWN_LINES ? `\n… and ${lines.length - SHOWN_LINES} more` : ''
  const what = lines.length === 1 ? 'It ends with a line break' : `It has ${lines.length} lines`
  return ask({
    title: lines.length === 1 ? 'Paste and run this line?' : `Paste ${lines.length} lines?`,
    body: [
      make('p', {}, `${what}, and the program takes pasted text as typed: each line may run at once.`),
      make('pre', { class: 'paste-preview', tabindex: '0' }, shown + rest),
    ],
    confirm: 'Paste',
  })
}
