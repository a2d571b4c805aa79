/** Esc and then Tab within this time leaves the terminal, in milliseconds. */
const LEAVE_MS = 2_000

export interface KeyActions {
  /** Copies the selection; false when nothing is selected. */
  copySelection(): boolean
  openSearch(): void
  /** Moves the focus out of the terminal. */
  leave(backwards: boolean): void
}

type Key = Pick<KeyboardEvent, 'type' | 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey' | 'preventDefault'>

/**
 * Decides which keys are the page's. Returns what xterm.js's custom handler wants: false when the terminal must not
 * see the key. `now` in milliseconds.
 */
export function createKeyHandler(actions: KeyActions, isMac: boolean, now: () => number): (event: Key) => boolean {
  let escapedAt: number | undefined
  return (event) => {
    if (event.type !== 'keydown') return true
    if (event.key === 'Tab' && escapedAt !== undefined && now() - escapedAt <= LEAVE_MS && !event.ctrlKey) {
      escapedAt = undefined
      event.preventDefault()
      actions.leave(event.shiftKey)
      return false
    }
    if (event.key !== 'Shift') escapedAt = event.key === 'Escape' && isPlain(event) ? now() : undefined
    switch (shortcut(event, isMac)) {
      case 'search':
        event.preventDefault()
        actions.openSearch()
        return false
      case 'copy-if-selected':
        if (!actions.copySelection()) return true
        event.preventDefault()
        return false
      case 'copy':
        event.preventDefault()
        actions.copySelection()
        return false
      case 'browser':
        // Not handled by the terminal, not prevented: the browser pastes, and the paste event is ours.
        return false
      default:
        return true
    }
  }
}

function isPlain(event: Key): boolean {
  return !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
}

function shortcut(event: Key, isMac: boolean): 'search' | 'copy' | 'copy-if-selected' | 'browser' | undefined {
  const key = event.key.toLowerCase()
  if (event.altKey) return undefined
  if (isMac) {
    if (!event.metaKey || event.ctrlKey) return undefined
    return key === 'f' ? 'search' : key === 'c' ? 'copy' : 'browser'
  }
  if (!event.ctrlKey || event.metaKey) return undefined
  if (key === 'f' && !event.shiftKey) return 'search'
  if (key === 'c') return event.shiftKey ? 'copy' : 'copy-if-selected'
  if (key === 'v' && event.shiftKey) return 'browser'
  return undefined
}
