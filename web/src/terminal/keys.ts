/** Tab within this time after Esc leaves the terminal, in milliseconds. */
const LEAVE_MS = 2_000

export interface KeyActions {
  /** Copies the selection; false when nothing is selected. */
  copySelection(): boolean
  openSearch(): void
  /** Moves the focus out of the terminal. */
  leave(backwards: boolean): void
}

/** The user's settings, and what the terminal accepts now. */
export interface KeyRules {
  readonly isMac: boolean
  readonly findKey: boolean
  readonly leaveKey: boolean
  /** No key reaches a program: the session has ended, or this viewer may only watch. */
  readonly isReadOnly: boolean
}

type Key = Pick<
  KeyboardEvent,
  'type' | 'key' | 'code' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey' | 'preventDefault'
>

/**
 * Decides which keys the page handles. Returns what xterm.js's custom key handler has to return: false when the terminal
 * must not see the key. `now` is in milliseconds.
 */
export function createKeyHandler(
  actions: KeyActions,
  rules: () => KeyRules,
  now: () => number,
): (event: Key) => boolean {
  let escapedAt: number | undefined
  return (event) => {
    if (event.type !== 'keydown') return true
    const { leaveKey, isReadOnly } = rules()
    // The browser moves the focus, as on any page.
    if (event.key === 'Tab' && isReadOnly) return false
    const justEscaped = escapedAt !== undefined && now() - escapedAt <= LEAVE_MS
    if (leaveKey && justEscaped && event.key === 'Tab' && !event.ctrlKey) {
      escapedAt = undefined
      event.preventDefault()
      actions.leave(event.shiftKey)
      return false
    }
    if (event.key !== 'Shift') escapedAt = event.key === 'Escape' && isPlain(event) ? now() : undefined
    return act(event, shortcut(event, rules()), actions)
  }
}

function act(event: Key, what: Shortcut | undefined, actions: KeyActions): boolean {
  switch (what) {
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
      // Neither handled nor prevented: the browser pastes, and the page handles its paste event.
      return false
    default:
      return true
  }
}

type Shortcut = 'search' | 'copy' | 'copy-if-selected' | 'browser'

function isPlain(event: Key): boolean {
  return !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
}

/** The Latin letter of a key: what it types, or where it types no Latin (Cyrillic, Greek), what a US layout has there. */
function letterOf({ key, code }: Key): string {
  if (/^[a-z]$/i.test(key)) return key.toLowerCase()
  return key.length === 1 && key.charCodeAt(0) > 0x7f ? (/^Key([A-Z])$/.exec(code)?.[1]?.toLowerCase() ?? '') : ''
}

/** Whether a key opens the search; Ctrl-Shift-F always does. */
export function isFindKey(event: Key, { isMac, findKey }: Pick<KeyRules, 'isMac' | 'findKey'>): boolean {
  if (letterOf(event) !== 'f' || event.altKey) return false
  if (isMac) return event.metaKey && !event.ctrlKey && !event.shiftKey
  return event.ctrlKey && !event.metaKey && (findKey || event.shiftKey)
}

function shortcut(event: Key, rules: KeyRules): Shortcut | undefined {
  const { isMac } = rules
  if (isFindKey(event, rules)) return 'search'
  if (event.altKey) return undefined
  const letter = letterOf(event)
  if (isMac) {
    if (!event.metaKey || event.ctrlKey) return undefined
    return letter === 'c' ? 'copy' : 'browser'
  }
  if (!event.ctrlKey || event.metaKey) return undefined
  if (letter === 'c') return event.shiftKey ? 'copy' : 'copy-if-selected'
  if (letter === 'v' && event.shiftKey) return 'browser'
  return undefined
}
