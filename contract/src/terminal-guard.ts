/**
 * Keeps @xterm/xterm and @xterm/headless 6.0.0 from what a program may print to hang or fill them. The session host
 * and the page use the same code, so both show the same. The version is pinned: `guardTerminal` throws when the shape
 * changes, and the fuzz test compares the result with a terminal that is not guarded.
 */

/** Longest REP that is carried out exactly; a longer one is shortened by whole lines, which end up out of sight. */
const MAX_REPEAT_CELLS = 32_768
/** Code points that may join one cell, such as accents or the parts of an emoji. */
const MAX_JOINED = 32
const MAX_TITLE = 4_096
/** Longest OSC or DCS that is carried out. The clipboard's (OSC 52) may be longer, and is cut: the page tells of it. */
const MAX_STRING = 8_192
const MAX_CLIPBOARD_STRING = 128 * 1024
const CLIPBOARD = 52
/** The state of xterm's OSC parser before the first semicolon. */
const OSC_NUMBER = 1
const TITLES: ReadonlySet<number> = new Set([0, 1, 2])
/** What links that are on the screen may take: how many, and their text in UTF-16 units. */
const MAX_LINKS = 16_384
const MAX_LINK_UNITS = 1024 * 1024
/** How many links there may be before those that are no longer on the screen are looked for. */
const SWEEP_LINKS = 4_096
/** Pieces in which a terminal that yields parses, in bytes: each costs a look at the clock. */
const SLICE_BYTES = 256

interface Params {
  readonly length: number
  readonly params: Int32Array
}
interface ExtendedAttrs {
  readonly urlId: number
}
interface Line {
  readonly _extendedAttrs: Readonly<Record<number, ExtendedAttrs | undefined>>
  getString(column: number): string
}
interface Buffer {
  readonly lines: { readonly length: number; maxLength: number; get(index: number): Line | undefined }
  readonly x: number
  readonly y: number
  readonly ybase: number
}
interface Link {
  readonly id?: string
  readonly uri: string
}
type Data = Uint32Array
type Chunk = string | Uint8Array

interface Core {
  readonly _bufferService: {
    readonly cols: number
    readonly rows: number
    readonly buffer: Buffer
    readonly buffers: { readonly normal: Buffer; readonly alt: Buffer; resize(columns: number, rows: number): void }
  }
  readonly _oscLinkService: {
    registerLink(link: Link): number
    addLineToLink(id: number, line: number): void
    getLinkData(id: number): Link | undefined
  }
  readonly unicodeService: { charProperties(code: number, preceding: number): number }
  readonly _inputHandler: InputHandler
}

interface InputHandler {
  readonly _utf8Decoder: { readonly interim: Uint8Array; decode(input: Uint8Array, target: Uint32Array): number }
  readonly _curAttrData: { readonly extended: ExtendedAttrs }
  readonly _dirtyRowTracker: { markDirty(row: number): void }
  readonly _parser: {
    readonly precedingJoinState: number
    readonly _oscParser: OscParser
    readonly _dcsParser: DcsParser
    registerCsiHandler(id: { intermediates?: string; final: string }, handler: (params: Params) => boolean): unknown
    setErrorHandler(handler: (state: unknown) => unknown): void
    reset(): void
  }
  parse(data: Chunk, promiseResult?: boolean): void | Promise<boolean>
  print(data: Data, start: number, end: number): void
  eraseInDisplay(params: Params, respectProtect?: boolean): boolean
  _resetBufferLine(row: number, respectProtect: boolean): void
}

interface OscParser {
  readonly _id: number
  readonly _state: number
  start(): void
  put(data: Data, start: number, end: number): void
  end(success: boolean, promiseResult?: boolean): void | Promise<boolean>
}
interface DcsParser {
  hook(ident: number, params: Params): void
  put(data: Data, start: number, end: number): void
  unhook(success: boolean, promiseResult?: boolean): void | Promise<boolean>
}

export interface GuardOptions {
  /** In a page: after how long in one go the terminal lets the browser draw, in milliseconds. */
  readonly yieldMs?: number
  /** Told of a fault of the terminal; what it was given is dropped. */
  readonly onFault?: (error: unknown) => void
}

/**
 * Bounds what one sequence may cost `terminal` (an xterm.js `Terminal`) in time and memory, without a change of what
 * it shows: counts are clamped to the size of the screen, strings that never end are not kept, links have no markers.
 * Call it once, after other handlers are registered.
 *
 * @throws TypeError when the terminal is not the version that this was written for.
 */
export function guardTerminal(terminal: object, options: GuardOptions = {}): void {
  const core = (terminal as { readonly _core?: Core })._core
  if (!core?._inputHandler?._parser?._oscParser || !core._oscLinkService || !core._bufferService)
    throw new TypeError('this is not a terminal of xterm.js 6.0.0')
  // xterm.js writes each fault of the output to the console, object and all.
  core._inputHandler._parser.setErrorHandler((state) => state)
  clampCounts(core)
  limitJoined(core)
  limitStrings(core._inputHandler._parser)
  limitLinks(core)
  mendErase(core)
  mendResize(core)
  mendDecoder(core._inputHandler._utf8Decoder)
  catchFaults(core._inputHandler, options.onFault ?? (() => {}))
  if (options.yieldMs !== undefined) yieldBetween(core._inputHandler, options.yieldMs)
}

/** xterm.js repeats these as often as they say; more often than there are lines or columns changes nothing. */
function clampCounts(core: Core): void {
  const { _parser } = core._inputHandler
  const screen = core._bufferService
  const clamp = (final: string, max: () => number, intermediates?: string): void => {
    _parser.registerCsiHandler({ final, ...(intermediates === undefined ? {} : { intermediates }) }, ({ params }) => {
      if ((params[0] ?? 0) > max()) params[0] = max()
      return false
    })
  }
  const rows = (): number => screen.rows
  const columns = (): number => screen.cols
  // Lines: insert, delete, scroll up and down. Cells: insert, delete, erase, tabs forward and back.
  for (const final of 'LMST') clamp(final, rows)
  for (const final of '@PXIZ') clamp(final, columns)
  for (const final of '@A') clamp(final, columns, ' ')
  for (const final of '}~') clamp(final, columns, "'")
  _parser.registerCsiHandler({ final: 'b' }, ({ params }) => {
    params[0] = shortenRepeat(core, params[0] ?? 0)
    return false
  })
}

/** A count for REP that takes away whole lines, so that the cursor ends where it would. */
function shortenRepeat(core: Core, count: number): number {
  const { buffer, cols } = core._bufferService
  const width = (core._inputHandler._parser.precedingJoinState >> 1) & 3
  const text = buffer.lines.get(buffer.ybase + buffer.y)?.getString(buffer.x - width) ?? ''
  const aLine = Math.floor(cols / Math.max(1, width))
  const most = Math.max(1, Math.floor(MAX_REPEAT_CELLS / Math.max(1, text.length) / aLine)) * aLine
  return count <= most ? count : most + (count % aLine)
}

/** A cell to which characters are joined without end would grow, and cost more with each snapshot. */
function limitJoined(core: Core): void {
  const handler = core._inputHandler
  const print = handler.print.bind(handler)
  let joined = 0
  handler.print = (data, start, end) => {
    let at = start
    while (at < end && (data[at] as number) < 0x300) at++
    if (at > start) joined = 0
    if (at === end) return print(data, start, end)
    let out = at
    let state =
      at === start ? handler._parser.precedingJoinState : core.unicodeService.charProperties(data[at - 1] as number, 0)
    if (state === 0) joined = 0
    for (; at < end; at++) {
      const code = data[at] as number
      const next = core.unicodeService.charProperties(code, state)
      joined = (next & 1) === 0 ? 0 : joined + 1
      if (joined > MAX_JOINED) continue
      state = next
      data[out++] = code
    }
    print(data, start, out)
  }
}

/** A string's payload counts only up to a limit: more is not kept, and what it was for is not done, or done with less. */
function limitStrings(parser: InputHandler['_parser']): void {
  const osc = parser._oscParser
  const dcs = parser._dcsParser
  const base = {
    start: osc.start.bind(osc),
    put: osc.put.bind(osc),
    end: osc.end.bind(osc),
    hook: dcs.hook.bind(dcs),
    dcsPut: dcs.put.bind(dcs),
    unhook: dcs.unhook.bind(dcs),
  }
  let length = 0
  const room = (): number =>
    TITLES.has(osc._id) ? MAX_TITLE : osc._id === CLIPBOARD ? MAX_CLIPBOARD_STRING : MAX_STRING
  osc.start = () => {
    length = 0
    base.start()
  }
  osc.put = (data, start, end) => {
    // The number comes first, and decides how much may follow.
    const head = osc._state === OSC_NUMBER ? Math.min(end, start + 16) : start
    if (head > start) base.put(data, start, head)
    const most = Math.max(head, Math.min(end, start + room() - length))
    length += end - start
    if (most > head) base.put(data, head, most)
  }
  const mayBeCut = (): boolean => TITLES.has(osc._id) || osc._id === CLIPBOARD
  osc.end = (success, promiseResult) => base.end(success && (length <= room() || mayBeCut()), promiseResult)
  dcs.hook = (ident, params) => {
    length = 0
    base.hook(ident, params)
  }
  dcs.put = (data, start, end) => {
    length += end - start
    if (length <= MAX_STRING) base.dcsPut(data, start, end)
  }
  dcs.unhook = (success, promiseResult) => base.unhook(success && length <= MAX_STRING, promiseResult)
}

/**
 * xterm.js puts markers on each line of each link and tells all of them of each line that scrolls. Here a link is an
 * entry of a table, from which those that no cell names any more are swept.
 */
function limitLinks(core: Core): void {
  const service = core._oscLinkService
  const links = new Map<number, Link>()
  const named = new Map<string, number>()
  let nextId = 1
  let units = 0
  let sweepAt = SWEEP_LINKS
  const nameOf = ({ id, uri }: Link): string | undefined => (id === undefined ? undefined : `${id};;${uri}`)
  const drop = (id: number, link: Link): void => {
    links.delete(id)
    units -= link.uri.length
    const name = nameOf(link)
    if (name !== undefined) named.delete(name)
  }
  const sweep = (): void => {
    const used = usedLinks(core)
    for (const [id, link] of links) if (!used.has(id)) drop(id, link)
    // What is left is on the screen: the oldest lose their address, and are text as any other.
    for (const [id, link] of links) {
      if (links.size <= MAX_LINKS / 2 && units <= MAX_LINK_UNITS / 2) break
      drop(id, link)
    }
    sweepAt = Math.min(MAX_LINKS, Math.max(SWEEP_LINKS, links.size * 2))
  }
  service.registerLink = (link) => {
    const name = nameOf(link)
    const known = name === undefined ? undefined : named.get(name)
    if (known !== undefined) return known
    if (links.size >= sweepAt || units > MAX_LINK_UNITS) sweep()
    const id = nextId++
    links.set(id, link)
    units += link.uri.length
    if (name !== undefined) named.set(name, id)
    return id
  }
  service.addLineToLink = () => {}
  service.getLinkData = (id) => links.get(id)
}

function usedLinks(core: Core): Set<number> {
  const used = new Set([core._inputHandler._curAttrData.extended.urlId])
  const { normal, alt } = core._bufferService.buffers
  for (const { lines } of [normal, alt])
    for (let row = 0; row < lines.length; row++)
      for (const attrs of Object.values(lines.get(row)?._extendedAttrs ?? {})) if (attrs) used.add(attrs.urlId)
  return used
}

/** ED 1 with the cursor in the last cell of a screen without scrollback throws in the middle of its work. */
function mendErase(core: Core): void {
  const handler = core._inputHandler
  const erase = handler.eraseInDisplay.bind(handler)
  handler.eraseInDisplay = (params, respectProtect = false) => {
    const { y, lines } = core._bufferService.buffer
    if (params.params[0] !== 1 || lines.get(y + 1) !== undefined) return erase(params, respectProtect)
    try {
      return erase(params, respectProtect)
    } catch {
      for (let row = y - 1; row >= 0; row--) handler._resetBufferLine(row, respectProtect)
      handler._dirtyRowTracker.markDirty(0)
      return true
    }
  }
}

/**
 * While no full-screen program runs, the alternate screen has no lines, and xterm.js forgets to lower how many it may
 * have when the terminal gets lower: the next program's screen would scroll into a scrollback that it must not have.
 */
function mendResize(core: Core): void {
  const { buffers } = core._bufferService
  const resize = buffers.resize.bind(buffers)
  buffers.resize = (columns, rows) => {
    resize(columns, rows)
    const { lines } = buffers.alt
    if (lines.length === 0) lines.maxLength = rows
  }
}

/**
 * A character whose bytes come in two pieces is lost when its second byte is 0x80, as in dashes, quotes and joiners.
 * Here its bytes are held back until it is whole; `interim` shows them.
 */
function mendDecoder(decoder: InputHandler['_utf8Decoder']): void {
  const base = decoder.decode.bind(decoder)
  let held = new Uint8Array(0)
  const decode = (bytes: Uint8Array, target: Uint32Array): number => {
    const whole = bytes.length - cutBytes(bytes)
    held = bytes.slice(whole)
    return base(bytes.subarray(0, whole), target)
  }
  decoder.decode = (input, target) => {
    decoder.interim.fill(0)
    let done = 0
    let size = 0
    if (held.length > 0) {
      done = Math.min(input.length, lengthOf(held[0] as number) - held.length)
      const joined = new Uint8Array(held.length + done)
      joined.set(held)
      joined.set(input.subarray(0, done), held.length)
      size = decode(joined, target)
    }
    if (done < input.length) size += decode(input.subarray(done), target.subarray(size))
    decoder.interim.set(held)
    return size
  }
}

/** How many bytes at the end are the beginning of a character. */
function cutBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number
    if ((byte & 0xc0) !== 0x80) return lengthOf(byte) > back ? back : 0
  }
  return 0
}

/** Of a character in UTF-8, by its first byte. */
function lengthOf(first: number): number {
  return first < 0xc0 || first >= 0xf8 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
}

/** An exception would leave xterm.js with a buffer that nobody empties any more. */
function catchFaults(handler: InputHandler, onFault: (error: unknown) => void): void {
  const parse = handler.parse.bind(handler)
  handler.parse = (data, promiseResult) => {
    try {
      return parse(data, promiseResult)
    } catch (error) {
      handler._parser.reset()
      onFault(error)
    }
  }
}

/**
 * Parses in slices and, when they took long, says that it waits for something: xterm.js then lets the browser draw
 * and comes back with the same bytes.
 */
function yieldBetween(handler: InputHandler, yieldMs: number): void {
  const parse = handler.parse.bind(handler)
  let at = 0
  handler.parse = (data) => {
    const start = performance.now()
    for (;;) {
      // No handler is asynchronous. A character that is cut is put together again by the decoder.
      void parse(at === 0 && data.length <= SLICE_BYTES ? data : slice(data, at))
      at += SLICE_BYTES
      if (at >= data.length) break
      if (performance.now() - start >= yieldMs) return Promise.resolve(true)
    }
    at = 0
  }
}

function slice(data: Chunk, at: number): Chunk {
  return typeof data === 'string' ? data.slice(at, at + SLICE_BYTES) : data.subarray(at, at + SLICE_BYTES)
}
