import { isUtf8 } from 'node:buffer'
import { SessionFailure } from '../failure.ts'

/** The rules an archive can break; docs and tests name them by these words. */
export type ArchiveRule =
  | 'absolute-path'
  | 'parent-folder'
  | 'backslash'
  | 'drive-name'
  | 'control-character'
  | 'not-utf8'
  | 'empty-name'
  | 'name-too-long'
  | 'too-deep'
  | 'duplicate-name'
  | 'same-name-in-another-form'
  | 'git-folder'
  | 'link-outside'
  | 'link-loop'
  | 'through-link'
  | 'hardlink-target'
  | 'special-file'
  | 'sparse-file'
  | 'too-many-entries'
  | 'too-large'
  | 'bomb'
  | 'overlap'
  | 'size-mismatch'
  | 'crc-mismatch'
  | 'name-mismatch'
  | 'encrypted'
  | 'compression-method'
  | 'two-directories'
  | 'leading-bytes'
  | 'nested-gzip'
  | 'odd-header'
  | 'broken'
  | 'empty'

/**
 * The refusal of a whole archive.
 * @param entry name of the entry, as it stands in the archive; undefined when no single one is at fault
 * @param why what is wrong and what to do, as the end of a sentence
 */
export function refuse(rule: ArchiveRule, entry: string | undefined, why: string): SessionFailure {
  const where = entry === undefined ? '' : `${printable(entry)} `
  return new SessionFailure('archive_refused', `${rule}: ${where}${why} None of the archive was unpacked.`)
}

/**
 * A name from its bytes. One that is not UTF-8 is not well-formed, which the rules refuse: U+FFFD, which a decoder puts in
 * the place of what it cannot read, is a character that a name may have.
 */
export function decodeName(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString() : notUtf8(bytes.toString())
}

/** Of a name that something else decoded, and whose bytes are known not to be UTF-8. */
export function notUtf8(name: string): string {
  return `${name}\udfff`
}

/** A name for a sentence: quoted, control and direction characters escaped, at most 100 characters. */
export function printable(name: string): string {
  const cut = name.length > 100 ? `${name.slice(0, 60)}…${name.slice(-30)}` : name
  const safe = cut.toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
  return `"${safe}"`
}
