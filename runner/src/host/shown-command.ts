import { plain } from '../relay/stage-lines.ts'

const MAX_CHARS = 200

/** What viewers are shown of a command: its first line, at most 200 characters, without control characters. */
export function shownCommand(command: string): string {
  const [line = '', ...more] = command.trim().split(/[\r\n]+/)
  const chars = Array.from(plain(line).trim() + (more.length > 0 ? ' …' : ''))
  return chars.length <= MAX_CHARS ? chars.join('') : `${chars.slice(0, MAX_CHARS - 1).join('')}…`
}
