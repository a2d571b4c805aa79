/**
 * What must not reach a program from the clipboard. xterm.js 6.0.0 does not check pasted text, so `ESC[201~` in it ends
 * the bracketed paste early and the rest runs as typed (GHSA-h62m-39wp-xq3w; fixed after 6.0.0). Every ESC and C1 control
 * is removed, not just that sequence: removing one can create another. The other C0 controls are removed too, because a
 * terminal acts on them even inside a bracketed paste (^C, ^D, ^Z); tabs and line breaks stay.
 */
// oxlint-disable-next-line no-control-regex -- control characters are the point
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g

/** The text without control characters that could end the paste. */
export function cleanPaste(text: string): string {
  return text.replace(CONTROLS, '')
}

/** The lines of pasted text; a line break at the end begins no further one. */
export function pasteLines(text: string): string[] {
  const lines = text.split(/\r\n|\r|\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** Whether to ask first: the program treats pasted text as typed, so a line break may run what comes before it. */
export function needsConfirm(text: string, bracketedPaste: boolean): boolean {
  return !bracketedPaste && /[\r\n]/.test(text)
}
