/** Which names git allows for branches and tags: the rules of `git check-ref-format`, as a pure function. */

/** What of a name git does not allow, as the end of a sentence; undefined when a repository may have it. */
export function gitRefFault(ref: string): string | undefined {
  if (ref === '') return 'is empty'
  if (ref.startsWith('-')) return 'starts with "-"'
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  const character = /[\0-\x20\x7f~^:?*[\\]/.exec(ref)?.[0]
  if (character !== undefined)
    return character > ' ' && character !== '\x7f'
      ? `contains "${character}"`
      : 'contains a space or a control character'
  if (ref === '@' || ref.includes('@{')) return 'is "@" or contains "@{"'
  if (ref.includes('..')) return 'contains ".."'
  if (ref.endsWith('.')) return 'ends with "."'
  const parts = ref.split('/')
  if (parts.includes('')) return 'has an extra "/"'
  if (parts.some((part) => part.startsWith('.'))) return 'has a part that starts with "."'
  if (parts.some((part) => part.endsWith('.lock'))) return 'has a part that ends with ".lock"'
  return ref.isWellFormed() ? undefined : 'is not a string'
}
