import type { IDisposable, Terminal } from '@xterm/xterm'

/** When a program turns this mode on, xterm.js reports the focus at once, as if typed. */
const FOCUS_MODE = 1004
const FOCUS_REPORTS: ReadonlySet<string> = new Set(['\u001b[I', '\u001b[O'])

/**
 * Keeps xterm.js from answering a program's queries: the session's host answers each once, and further answers, from
 * every viewer and to replayed queries, would reach the program as typed junk (xterm.js sends them through `onData`).
 * `allows` says whether a piece of `onData` comes from a person; other answers are suppressed before they are made. While
 * `isOn` returns false, xterm.js answers as usual.
 */
export function swallowQueries(
  terminal: Terminal,
  isOn: () => boolean,
): { allows(data: string): boolean; dispose(): void } {
  const { parser } = terminal
  const swallow = isOn
  let focusReportDue = false
  const handlers: IDisposable[] = [
    // DA1, DA2, DA3; DSR and CPR, plain and DEC; DECRQM, ANSI and DEC; XTVERSION; window reports; DECREQTPARM.
    parser.registerCsiHandler({ final: 'c' }, swallow),
    parser.registerCsiHandler({ prefix: '>', final: 'c' }, swallow),
    parser.registerCsiHandler({ prefix: '=', final: 'c' }, swallow),
    parser.registerCsiHandler({ final: 'n' }, swallow),
    parser.registerCsiHandler({ prefix: '?', final: 'n' }, swallow),
    parser.registerCsiHandler({ intermediates: '$', final: 'p' }, swallow),
    parser.registerCsiHandler({ prefix: '?', intermediates: '$', final: 'p' }, swallow),
    parser.registerCsiHandler({ prefix: '>', final: 'q' }, swallow),
    parser.registerCsiHandler({ prefix: '?', final: 'u' }, swallow),
    parser.registerCsiHandler({ final: 't' }, (params) => isOn() && isWindowReport(params)),
    parser.registerCsiHandler({ final: 'x' }, swallow),
    // DECRQSS and XTGETTCAP.
    parser.registerDcsHandler({ intermediates: '$', final: 'q' }, swallow),
    parser.registerDcsHandler({ intermediates: '+', final: 'q' }, swallow),
    // Colour queries; xterm.js still sets colours.
    ...[4, 10, 11, 12].map((code) => parser.registerOscHandler(code, (body) => isOn() && asksColour(body))),
    parser.registerCsiHandler({ prefix: '?', final: 'h' }, (params) => {
      focusReportDue = isOn() && params.includes(FOCUS_MODE)
      // xterm.js reports while it handles this sequence; a later report is a person's.
      if (focusReportDue) queueMicrotask(() => (focusReportDue = false))
      return false
    }),
  ]
  return {
    allows(data) {
      if (!focusReportDue || !FOCUS_REPORTS.has(data)) return true
      focusReportDue = false
      return false
    },
    dispose() {
      for (const handler of handlers) handler.dispose()
    },
  }
}

/** XTWINOPS that query: 11 and 13 to 21. xterm.js handles the others (title stack, resizing). */
function isWindowReport(params: (number | number[])[]): boolean {
  const operation = params[0]
  return typeof operation === 'number' && (operation === 11 || (operation >= 13 && operation <= 21))
}

/** Whether an OSC 4, 10, 11 or 12 queries a colour: one of its parts is a lone question mark. */
export function asksColour(body: string): boolean {
  return body.split(';').includes('?')
}
