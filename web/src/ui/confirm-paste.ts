import { needsConfirm, pasteLines } from '../paste.ts'
import { ask } from './dialog.ts'
import { make } from './dom.ts'

const SHOWN_LINES = 8

/** Asks before text with a line break is pasted into a program that may run each line at once. */
export async function confirmPaste(text: string, bracketedPaste: boolean): Promise<boolean> {
  if (!needsConfirm(text, bracketedPaste)) return true
  const lines = pasteLines(text)
  const shown = lines.slice(0, SHOWN_LINES).join('\n')
  const rest = lines.length > SHOWN_LINES ? `\n… and ${lines.length - SHOWN_LINES} more` : ''
  const each = lines.length === 1 ? 'this line, which ends with a line break,' : 'each line'
  return ask({
    title: lines.length === 1 ? 'Paste and run this line?' : `Paste ${lines.length} lines?`,
    body: [
      make('p', {}, `The program treats pasted text as typed, so it may run ${each} at once.`),
      make('pre', { class: 'paste-preview', tabindex: '0' }, shown + rest),
    ],
    confirm: 'Paste',
  })
}
