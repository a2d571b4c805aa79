/**
 * What may reach a program from the clipboard. xterm.js 6.0.0 does not look into pasted text, so that `ESC[201~` ends
 * the bracket early and the rest runs as typed (GHSA-h62m-39wp-xq3w; fixed after 6.0.0). Every ESC and C1 control
 * goes, not the sequence once: removing a sequence can make a new one. The other C0 controls go too, because a
 * terminal acts on them even inside a bracket (^C, ^D, ^Z); tab and line ends stay.
 */
// oxlint-disable-next-line no-control-regex -- control characters are the point
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g

/** The text without controls that could leave a paste. */
export function cleanPaste(text: string): string {
  return text.replace(CONTROLS, '')
}

/** Lines that a shell would run at once: those ended by a line break, and what stands after the last one. */
export function pasteLines(text: string): string[] {
  const lines = text.split(/\r\n|\r|\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** Whether a person should be asked first: the program takes pasted lines as typed ones, and a line break runs them. */
export function needsConfirm(text: string, bracketedPaste: boolean): boolean {
  return !bracketedPaste && /[\r\n]/.test(text)
}
