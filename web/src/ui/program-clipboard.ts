import type { Terminal } from '@xterm/xterm'
import { MAX_COPIED_BYTES, parseOsc52 } from '../osc52.ts'
import { copyText } from './clipboard.ts'
import { toast } from './toast.ts'

export interface ClipboardRules {
  /** A read-only viewer's clipboard is never touched. */
  readonly allowed: () => boolean
  /** Whether the output is older than this page: then it copies nothing. */
  readonly replaying: () => boolean
}

/**
 * OSC 52: a program may put text on the clipboard, never read it. Right after a click or a key on this page, the text is
 * copied and the page says so; otherwise the page asks first, because the program could slip a command into a later paste.
 */
export function takeProgramClipboard(terminal: Terminal, rules: ClipboardRules): void {
  terminal.parser.registerOscHandler(52, (body) => {
    const request = parseOsc52(body)
    if (request.kind === 'ignored' || rules.replaying() || !rules.allowed()) return true
    if (request.kind === 'copy') offer(request.text)
    else toast(`The program tried to copy more than ${MAX_COPIED_BYTES / 1024} KB, the limit. Nothing was copied.`)
    return true
  })
}

function offer(text: string): void {
  const count = `${text.length} character${text.length === 1 ? '' : 's'}`
  const copy = (done: string): void => {
    void copyText(text).then((copied) => toast(copied ? done : 'The browser does not allow this page to copy'))
  }
  if (navigator.userActivation?.isActive === true && document.hasFocus()) copy(`The program copied ${count}`)
  else toast(`The program wants to copy ${count}`, { label: 'Copy', run: () => copy('Copied') })
}
