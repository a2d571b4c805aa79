import type { Terminal } from '@xterm/xterm'
import { bufferText } from '../terminal/buffer-text.ts'
import { copyText } from './clipboard.ts'
import { commandLine } from './command-line.ts'
import { byId, make } from './dom.ts'
import { toast } from './toast.ts'

/** Sets up the menu that copies or saves the output on this page; `command` reads the whole log. */
export function setUpLogMenu(terminal: Terminal, sessionId: string, command: string): void {
  byId('log-command').replaceWith(commandLine(command))
  byId('copy-output').addEventListener('click', () => {
    byId('log-menu').hidePopover()
    void copyText(bufferText(terminal)).then((copied) => {
      toast(copied ? 'Output copied' : 'The browser does not allow this page to copy')
    })
  })
  byId('download-output').addEventListener('click', () => {
    byId('log-menu').hidePopover()
    const url = URL.createObjectURL(new Blob([bufferText(terminal)], { type: 'text/plain;charset=utf-8' }))
    make('a', { href: url, download: `cliscale-${sessionId}.txt` }).click()
    setTimeout(() => URL.revokeObjectURL(url), 60_000)
  })
}
