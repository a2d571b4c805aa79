import ended from '../icons/ended.svg'
import failed from '../icons/failed.svg'
import stopped from '../icons/stopped.svg'
import running from '../icons/running.svg'
import waiting from '../icons/waiting.svg'
import type { ConnectionState } from '@cliscale/client'
import { type Ending, endingOf } from '../status-words.ts'

interface TabLook {
  readonly icon: string
  /** Comes first in the tab's title. */
  readonly sign: string
}

const ENDED: Readonly<Record<Ending, TabLook>> = {
  good: { icon: ended, sign: '✓' },
  neutral: { icon: stopped, sign: '■' },
  bad: { icon: failed, sign: '✗' },
}

/** What the tab shows for a state. Icon and sign mean the same, because some browsers show only one. */
export function tabLook(state: ConnectionState): TabLook {
  switch (state.kind) {
    case 'live':
      return { icon: running, sign: '▶' }
    case 'ended':
      return ENDED[endingOf(state.exit)]
    case 'reconnecting':
      return { icon: waiting, sign: '↻' }
    case 'stopped':
      return { icon: waiting, sign: '' }
    default:
      return { icon: waiting, sign: '…' }
  }
}

export function setFavicon(address: string): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]')
  if (link !== null && link.getAttribute('href') !== address) link.href = address
}
