import { plain } from '../relay/stage-lines.ts'

const MAX_CHARS = 200

/** A shell's word up to its end; what is open at the end of the line, such as a quote, goes that far. */
const WORD = [
  String.raw`\\.?`,
  String.raw`\$'(?:\\.|[^'\\])*'?`,
  String.raw`'[^']*'?`,
  // What is called in quotes may have quotes of its own.
  String.raw`"[^"]*\$\(.*`,
  String.raw`"(?:\\.|[^"\\])*"?`,
  '`[^`]*`?',
  String.raw`\$?\((?:[^()]|\([^()]*\))*(?:\)|$)`,
  String.raw`\$?\(.*`,
  String.raw`[^\s;&|()<>'"\\` + '`]',
].join('|')
const NAME = String.raw`[A-Za-z_]\w*(?:\[[^\]\s]*\])?\+?=`
const ASSIGNMENT = new RegExp(String.raw`(?<=^|[\s;&|({]|\s-e|\s--env=)(${NAME})(?:${WORD})+`, 'g')
/** As in `-e "NAME=some words"`. */
const QUOTED_ASSIGNMENT = new RegExp(`(["'\`])(${NAME})(?:\\\\.|(?!\\1).)+(\\1|$)`, 'g')

/** Viewers need not know the values of variables that a command sets, which may be secrets: `KEY=… npm test`. */
function withoutValues(line: string): string {
  return line.replaceAll(ASSIGNMENT, '$1…').replaceAll(QUOTED_ASSIGNMENT, '$1$2…$3')
}

/**
 * What viewers are shown of a command: its first line, at most 200 characters, without control characters and without
 * the values of words like `NAME=value`.
 */
export function shownCommand(command: string): string {
  const [line = '', ...more] = command.trim().split(/[\r\n]+/)
  const chars = Array.from(withoutValues(plain(line).trim()) + (more.length > 0 ? ' …' : ''))
  return chars.length <= MAX_CHARS ? chars.join('') : `${chars.slice(0, MAX_CHARS - 1).join('')}…`
}
