import type { Terminal } from '@xterm/headless'

/**
 * Adds the answer to XTVERSION, which @xterm/headless 6.0.0 does not give by itself. Device attributes, status, cursor
 * position, DECRQM and DECRQSS it answers, and `ScreenColours` tells colours; what is left (kitty keyboard, window
 * reports, XTGETTCAP) stays unanswered, which programs read as "not supported".
 */
export function addAnswers(terminal: Terminal, answer: (text: string) => void): void {
  terminal.parser.registerCsiHandler({ prefix: '>', final: 'q' }, () => {
    answer('\x1bP>|xterm.js(6.0.0)\x1b\\')
    return true
  })
}
