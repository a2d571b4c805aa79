import type { IBufferRange, ILinkHandler, Terminal } from '@xterm/xterm'
import { WebLinksAddon } from '@xterm/addon-web-links'
import { copyText } from '../ui/clipboard.ts'
import { ask } from '../ui/dialog.ts'
import { make } from '../ui/dom.ts'

export interface LinkPlaces {
  /** Shows where a link under the mouse leads; undefined hides it. */
  readonly note: (text: string | undefined) => void
  /** Whether the pointer that was used last is a finger or a pen: it has no Ctrl. */
  readonly isTouch: () => boolean
}

/**
 * Opens links on Ctrl-click, Cmd-click or a tap, in a new tab that cannot reach this one, after showing where they lead.
 * Only http and https. Covers addresses in the text and OSC 8 links, whose text may name another address.
 */
export function addLinks(terminal: Terminal, places: LinkPlaces): void {
  const open = (event: MouseEvent, uri: string, shown: string | undefined): void => {
    if (event.ctrlKey || event.metaKey || places.isTouch()) void confirmLink(uri, shown)
  }
  // Browsers follow a tap with mouse events.
  const hover = (_event: MouseEvent, uri: string): void => places.note(places.isTouch() ? undefined : uri)
  const leave = (): void => places.note(undefined)
  const handler: ILinkHandler = {
    activate: (event, uri, range) => open(event, uri, textOf(terminal, range)),
    hover,
    leave,
    allowNonHttpProtocols: false,
  }
  terminal.options.linkHandler = handler
  terminal.loadAddon(new WebLinksAddon((event, uri) => open(event, uri, undefined), { hover, leave }))
}

async function confirmLink(uri: string, shown: string | undefined): Promise<void> {
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) return
  const body = [
    make('p', {}, 'The program in the session printed this link. It leads to:'),
    make('p', { class: 'link-target' }, make('strong', {}, url.host), make('span', {}, url.href)),
  ]
  if (shown !== undefined && claimsAnotherPlace(shown, url)) {
    body.push(make('p', { class: 'warning' }, `Its text names another address: “${shown}”`))
  }
  const copy = (button: HTMLButtonElement): void => {
    void copyText(url.href).then((copied) => (button.textContent = copied ? 'Copied' : 'Cannot copy'))
  }
  await ask({
    title: 'Open this link?',
    body,
    confirm: 'Open',
    href: url.href,
    extra: { label: 'Copy', run: copy },
  })
}

/** Whether a link's text looks like an address other than the one it leads to. */
export function claimsAnotherPlace(shown: string, url: URL): boolean {
  const text = shown.trim()
  const host = /^(?:[a-z][a-z0-9+.-]*:\/\/)?([^\s/?#@]+@)?((?:[a-z0-9-]+\.)+[a-z]{2,})/i.exec(text)?.[2]
  return host !== undefined && host.toLowerCase() !== url.hostname.toLowerCase()
}

/** The text in the cells of a link. Rows and columns of a range count from 1; both ends are included. */
function textOf(terminal: Terminal, { start, end }: IBufferRange): string {
  let text = ''
  for (let row = start.y; row <= end.y; row++) {
    const line = terminal.buffer.active.getLine(row - 1)
    text += line?.translateToString(true, row === start.y ? start.x - 1 : 0, row === end.y ? end.x : undefined) ?? ''
  }
  return text.slice(0, 200)
}
