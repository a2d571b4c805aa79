import {
  Connection,
  type ConnectionState,
  createViewerApi,
  InputStream,
  reconnectDelayMs,
  type Screen,
  type Socket,
  systemClock,
  type Typing,
} from '@cliscale/client'
import {
  DARK_COLOURS,
  LIGHT_COLOURS,
  TTY_PROTOCOL,
  V1_PROTOCOL,
  type Mode,
  type StatusMessage,
  type TerminalSize,
} from '@cliscale/contract/terminal'
import { logCommand } from './address.ts'
import { readSettings, type Settings, writeSettings } from './settings-store.ts'
import { addStatus, type SeenStage } from './stages.ts'
import { statusWords } from './status-words.ts'
import { createKeyHandler, isFindKey, type KeyRules } from './terminal/keys.ts'
import { TerminalView } from './terminal/terminal-view.ts'
import { documentTitle } from './title.ts'
import { typingWords } from './typing-words.ts'
import { copyText } from './ui/clipboard.ts'
import { confirmPaste } from './ui/confirm-paste.ts'
import { byId, setText } from './ui/dom.ts'
import { Details } from './ui/details.ts'
import { hideEndPanel, showEndPanel, showStopPanel } from './ui/end-panel.ts'
import { setFavicon, tabLook } from './ui/favicon.ts'
import { showClock, showCommand, showMode, showPlain, showSessionId, showStatus } from './ui/header.ts'
import { setUpLogMenu } from './ui/log-menu.ts'
import { Overlay, stopCard } from './ui/overlay.ts'
import { takeProgramClipboard } from './ui/program-clipboard.ts'
import { SearchBar } from './ui/search-bar.ts'
import { setUpSettings } from './ui/settings-panel.ts'
import { toast } from './ui/toast.ts'
import { TouchBar } from './ui/touch-bar.ts'
import { followKeyboard } from './ui/visible-height.ts'

export interface PageOptions {
  readonly sessionId: string | undefined
  readonly token: string | undefined
  /** The server's address, such as `https://cliscale.example`. */
  readonly base: string
  /** `/ws/<id>`: the path of everything that belongs to this session. */
  readonly sessionPath: string
  /** The curl command for a new link. */
  readonly newLink: string
}

/** How often the page updates what depends on the time, in milliseconds. */
const TICK_MS = 250
/** Output in the first second after attaching, or longer while it does not pause, is a replay of old output; in ms. */
const CATCH_UP_MS = { least: 1_000, most: 5_000 } as const

/** The terminal page: connects the connection, the terminal and the controls around it. */
export class Page {
  readonly #options: PageOptions
  readonly #isMac = /Mac|iPhone|iPad/.test(navigator.platform)
  readonly #darkScheme = matchMedia('(prefers-color-scheme: dark)')
  readonly #overlay = new Overlay()
  readonly #details = new Details()
  readonly #view: TerminalView
  readonly #search: SearchBar
  readonly #input: InputStream
  readonly #touchBar: TouchBar
  readonly #touchScreen = matchMedia('(pointer: coarse)')
  readonly #connection: Connection
  /** Since when the program has taken no waiting input, in ms since 1970. */
  #inputMovedAt = 0
  #typing: Typing = { total: 0, taken: 0, unsent: 0 }
  #settings = readSettings(localStorageOrNone())
  #state: ConnectionState = { kind: 'connecting' }
  #stages: SeenStage[] = []
  #mode: Mode = 'ro'
  /** Whether this window decides the session's size; undefined: the server has not said. */
  #drives: boolean | undefined
  #misfit: TerminalSize | undefined
  #title = ''
  #hasOutput = false
  #attachedAt = 0
  #caughtUp = false
  #isTouch = false

  constructor(options: PageOptions) {
    this.#options = options
    this.#showTheme()
    this.#view = this.#createView()
    this.#search = new SearchBar(this.#view, () => this.#isDark())
    this.#input = new InputStream({
      name: randomName(),
      onChange: (typing) => this.#onTyping(typing),
      onDropped: (bytes) => toast(`Interrupted: ${bytes.toLocaleString('en')} waiting bytes were dropped`),
      onLineCut: () => toast('A line was cut: the program reads whole lines, and a terminal holds 4,095 bytes of one'),
    })
    this.#touchBar = new TouchBar(this.#view)
    this.#connection = this.#createConnection()
  }

  /** Connects, and starts to listen for the window's events. */
  start(): void {
    const { sessionId } = this.#options
    this.#view.open()
    this.#setUpControls()
    setInterval(() => this.#show(), TICK_MS)
    if (sessionId === undefined) return this.#onState({ kind: 'stopped', why: 'not_found' })
    showSessionId(sessionId)
    setUpLogMenu(this.#view.terminal, sessionId, logCommand(this.#options.base, sessionId))
    this.#connection.start()
    this.#view.terminal.focus()
  }

  #createView(): TerminalView {
    return new TerminalView({
      parent: byId('terminal'),
      settings: this.#settings,
      dark: this.#isDark(),
      reducedMotion: matchMedia('(prefers-reduced-motion: reduce)').matches,
      links: {
        note: (text) => this.#note('link-note', text && `${this.#isMac ? '⌘' : 'Ctrl'}-click opens ${text}`),
        isTouch: () => this.#isTouch,
      },
      onInput: (bytes) => this.#onInput(bytes),
      onRoom: (room) => this.#connection.resize(room),
      onMisfit: (size) => {
        this.#misfit = size
        this.#showSize()
      },
      confirmPaste,
      onTitle: (title) => this.#setTitle(title),
      retype: (data) => this.#touchBar.apply(data),
    })
  }

  #createConnection(): Connection {
    const { sessionPath, token } = this.#options
    return new Connection({
      token,
      api: createViewerApi(sessionPath, (input, init) => fetch(input, init), Date.now),
      openSocket: (viewer) => openSocket(sessionPath, viewer),
      memory: viewerMemory(sessionPath),
      screen: this.#screen(),
      input: this.#input,
      clock: systemClock,
      retryDelayMs: reconnectDelayMs,
      windowSize: () => this.#view.room,
      colours: () => (this.#isDark() ? DARK_COLOURS : LIGHT_COLOURS),
      onState: (state) => this.#onState(state),
      onMode: (mode) => this.#setMode(mode),
      onDriver: (drives) => {
        this.#drives = drives
        this.#showSize()
      },
      onStatus: (status, offset) => this.#onStatus(status, offset),
      onPlain: () => this.#onPlain(),
    })
  }

  #screen(): Screen {
    const { queue } = this.#view
    const seen = (): void => {
      if (this.#hasOutput) return
      this.#hasOutput = true
      this.#show()
    }
    return {
      reset: () => queue.reset(),
      resize: (size) => this.#view.resize(size),
      write: (bytes, parsed) => {
        seen()
        queue.write(bytes, parsed)
      },
      snapshot: (bytes, parsed) => {
        seen()
        queue.snapshot(bytes, parsed)
      },
      title: (text) => this.#setTitle(text),
    }
  }

  #setUpControls(): void {
    const { terminal } = this.#view
    terminal.attachCustomKeyEventHandler(
      createKeyHandler(
        {
          copySelection: () => this.#copySelection(),
          openSearch: () => this.#search.open(),
          leave: (backwards) => byId(backwards ? 'session-id' : 'open-search').focus(),
        },
        () => this.#keyRules(),
        Date.now,
      ),
    )
    takeProgramClipboard(terminal, {
      allowed: () => this.#mode === 'rw',
      replaying: () => !this.#caughtUp,
    })
    const device = { isMac: this.#isMac, isTouch: this.#touchScreen.matches }
    setUpSettings(this.#settings, device, (settings) => this.#apply(settings))
    this.#darkScheme.addEventListener('change', () => this.#apply(this.#settings))
    byId('open-search').addEventListener('click', () => this.#search.open())
    byId('take-size').addEventListener('click', () => {
      this.#connection.takeSize()
      this.#view.terminal.focus()
    })
    byId('typing-cancel').addEventListener('click', () => {
      this.#input.cancel()
      terminal.focus()
    })
    byId('reconnect').addEventListener('click', () => this.#connection.wake())
    window.addEventListener('online', () => this.#connection.wake())
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#connection.wake()
    })
    window.addEventListener('keydown', (event) => {
      if (!isFindKey(event, this.#keyRules())) return
      event.preventDefault()
      this.#search.open()
    })
    this.#setUpPointer()
    followKeyboard()
  }

  /** A click beside the terminal's cells focuses the terminal too. */
  #setUpPointer(): void {
    const stage = byId('stage')
    const follow = ({ pointerType }: PointerEvent): void => void (this.#isTouch = pointerType !== 'mouse')
    for (const type of ['pointerdown', 'pointermove'] as const) window.addEventListener(type, follow, true)
    stage.addEventListener('click', ({ target }) => {
      if (target === stage || target === byId('terminal') || target === byId('overlay')) this.#view.terminal.focus()
    })
  }

  #keyRules(): KeyRules {
    const { findKey, leaveKey } = this.#settings
    return { isMac: this.#isMac, findKey, leaveKey, isReadOnly: this.#isReadOnly }
  }

  get #isReadOnly(): boolean {
    return this.#mode === 'ro' || this.#state.kind === 'ended'
  }

  #onState(state: ConnectionState): void {
    const before = this.#state
    this.#state = state
    if (state.kind === 'live' && before.kind !== 'live') {
      this.#attachedAt = Date.now()
      this.#caughtUp = false
    }
    if (state.kind === 'ended' && before.kind !== 'ended') this.#onEnd(state)
    else if (state.kind === 'stopped' && this.#hasOutput) {
      showStopPanel(stopCard(state.why, this.#options.newLink, () => this.#connection.resume()))
      // What can go on as it was keeps its modes.
      if (state.why !== 'protocol') this.#view.endReports()
    } else if (before.kind === 'stopped') hideEndPanel()
    this.#showSize()
    const look = tabLook(state)
    setFavicon(look.icon)
    this.#setTitle(this.#title)
    this.#show()
  }

  #onEnd(state: Extract<ConnectionState, { kind: 'ended' }>): void {
    showEndPanel(state.exit)
    this.#view.setEnded()
  }

  #onStatus(status: StatusMessage, offsetMs: number): void {
    this.#stages = addStatus(this.#stages, status, offsetMs)
    if (status.command !== undefined) showCommand(status.command)
    this.#show()
  }

  /** The session's image has its own terminal: only the page answers its queries, and it can do less. */
  #onPlain(): void {
    this.#view.answerQueries()
    showPlain()
  }

  /** Updates everything that depends on the state or the time. Cheap when nothing has changed. */
  #show(): void {
    const now = Date.now()
    const stage = this.#stages.at(-1)
    const attachedMs = now - this.#attachedAt
    if (attachedMs > (this.#view.queue.idle ? CATCH_UP_MS.least : CATCH_UP_MS.most)) this.#caughtUp = true
    showStatus(statusWords(this.#state, now, stage?.startedAt), this.#state)
    this.#showTyping(now)
    this.#details.show(this.#stages, this.#hasOutput && this.#state.kind === 'waiting', Date.now)
    this.#touchBar.show(this.#touchScreen.matches && !this.#isReadOnly)
    showClock(this.#state, this.#stages.find(({ name }) => name === 'running')?.startedAt, now)
    if (this.#hasOutput || this.#state.kind === 'ended') this.#overlay.hide()
    else this.#overlay.show(this.#state, this.#stages, Date.now, this.#options.newLink, () => this.#connection.resume())
  }

  #onInput(bytes: Uint8Array): void {
    const answer = this.#connection.type(bytes)
    if (answer === 'too_much') toast('Not sent: at most 16 MiB may wait for the program to read')
    else if (answer === 'unreachable' && this.#mode === 'rw' && this.#state.kind !== 'ended')
      toast('Not sent: this page is not connected')
  }

  #onTyping(typing: Typing): void {
    const before = this.#typing
    if (before.taken === before.total || before.taken !== typing.taken) this.#inputMovedAt = Date.now()
    this.#typing = typing
    this.#showTyping(Date.now())
  }

  #showTyping(now: number): void {
    const words = typingWords(this.#typing, this.#input.isConnected, now - this.#inputMovedAt)
    this.#note('typing-note', words)
    byId('typing-cancel').hidden = this.#typing.unsent === 0
  }

  #setMode(mode: Mode): void {
    this.#mode = mode
    showMode(mode)
    this.#view.setMode(mode)
    this.#showSize()
  }

  /** Says why the terminal does not fill the window, and offers to change that where this viewer may. */
  #showSize(): void {
    const size = this.#misfit
    byId('size-note').hidden = size === undefined || this.#drives === true || this.#state.kind === 'waiting'
    if (size === undefined) return
    const isOthers = this.#mode === 'rw' && this.#drives === false
    byId('take-size').hidden = !isOthers
    const what = isOthers
      ? 'Another window decides the size'
      : `The session has ${size.columns} columns × ${size.rows} rows`
    setText(byId('size-text'), what)
  }

  #setTitle(title: string): void {
    this.#title = title
    document.title = documentTitle(tabLook(this.#state).sign, this.#options.sessionId, title)
  }

  #copySelection(): boolean {
    const { terminal } = this.#view
    if (!terminal.hasSelection()) return false
    void copyText(terminal.getSelection()).then((copied) => {
      if (!copied) toast('The browser does not let this page copy')
    })
    terminal.clearSelection()
    return true
  }

  #apply(settings: Settings): void {
    this.#settings = settings
    writeSettings(localStorageOrNone(), settings)
    if (this.#showTheme()) this.#connection.recolour()
    this.#view.applySettings(settings, this.#isDark())
  }

  /** Applies the theme. True when it has changed. */
  #showTheme(): boolean {
    const { dataset } = document.documentElement
    const before = dataset['theme']
    dataset['theme'] = this.#isDark() ? 'dark' : 'light'
    return dataset['theme'] !== before
  }

  #isDark(): boolean {
    const { theme } = this.#settings
    return theme === 'auto' ? this.#darkScheme.matches : theme === 'dark'
  }

  #note(id: string, text: string | undefined): void {
    const note = byId(id)
    note.hidden = text === undefined
    if (text !== undefined) setText(note.querySelector('span') ?? note, text)
  }
}

/** In connect-src, 'self' covers ws: and wss: of the same host. The address must be absolute. */
function openSocket(sessionPath: string, viewer: string): Socket {
  const url = new URL(sessionPath, location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  url.searchParams.set('viewer', viewer)
  const socket = new WebSocket(url, [V1_PROTOCOL, TTY_PROTOCOL])
  socket.binaryType = 'arraybuffer'
  return socket as unknown as Socket
}

/** Remembered per tab: two links of one session in two tabs stay two viewers. */
function viewerMemory(sessionPath: string): { viewer: string | undefined } {
  const key = `cliscale.viewer:${sessionPath}`
  let held: string | undefined
  return {
    get viewer() {
      try {
        return sessionStorage.getItem(key) ?? held
      } catch {
        return held
      }
    },
    set viewer(viewer) {
      held = viewer
      try {
        if (viewer !== undefined) sessionStorage.setItem(key, viewer)
      } catch {
        // It is still known until the page is reloaded.
      }
    },
  }
}

/** Some browsers refuse any access to their storage. */
function localStorageOrNone(): Pick<Storage, 'getItem' | 'setItem'> {
  try {
    return localStorage
  } catch {
    return { getItem: () => null, setItem: () => {} }
  }
}

/** 128 random bits in hex. A page that was loaded by plain http from another machine has no `crypto.randomUUID`. */
function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
