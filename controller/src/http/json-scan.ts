/** What is wrong with a text as JSON, and where: an offset in UTF-16 units. */
export interface JsonFault {
  readonly kind: 'syntax' | 'depth' | 'duplicate_key'
  readonly position: number
}

type Expect = 'value' | 'value_or_end' | 'key' | 'key_or_end' | 'colon' | 'comma_or_end' | 'end'

interface Scan {
  readonly text: string
  position: number
  expect: Expect
  /** Innermost last: the keys seen in an object, or null for an array. */
  readonly open: (Set<string> | null)[]
}

/**
 * Finds the first fault of a JSON text (RFC 8259), nesting deeper than `maxDepth`, and a key that an object has twice,
 * which parsers disagree about. `JSON.parse` itself says where only sometimes, and quotes the text, which may hold
 * secrets. Undefined when there is none. Takes no stack, however deep the text is.
 */
export function findJsonFault(text: string, maxDepth: number): JsonFault | undefined {
  const scan: Scan = { text, position: 0, expect: 'value', open: [] }
  for (;;) {
    skipBlanks(scan)
    if (scan.position >= text.length) break
    const start = scan.position
    const kind = step(scan)
    if (kind !== undefined) return { kind, position: start }
    if (scan.open.length > maxDepth) return { kind: 'depth', position: start }
  }
  return scan.expect === 'end' ? undefined : { kind: 'syntax', position: text.length }
}

function skipBlanks(scan: Scan): void {
  for (;;) {
    const code = scan.text.charCodeAt(scan.position)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
    scan.position += 1
  }
}

/** Takes one token; a fault's name when it may not stand here. */
function step(scan: Scan): JsonFault['kind'] | undefined {
  const char = scan.text[scan.position]!
  switch (scan.expect) {
    case 'value_or_end':
      return char === ']' ? close(scan) : value(scan, char)
    case 'value':
      return value(scan, char)
    case 'key_or_end':
      return char === '}' ? close(scan) : key(scan)
    case 'key':
      return key(scan)
    case 'colon':
      return char === ':' ? advance(scan, 'value') : 'syntax'
    case 'comma_or_end': {
      const isArray = scan.open.at(-1) === null
      if (char === ',') return advance(scan, isArray ? 'value' : 'key')
      return char === (isArray ? ']' : '}') ? close(scan) : 'syntax'
    }
    case 'end':
      return 'syntax'
  }
}

function advance(scan: Scan, expect: Expect): undefined {
  scan.position += 1
  scan.expect = expect
}

function close(scan: Scan): undefined {
  scan.open.pop()
  advance(scan, afterValue(scan))
}

function afterValue(scan: Scan): Expect {
  return scan.open.length === 0 ? 'end' : 'comma_or_end'
}

function value(scan: Scan, char: string): JsonFault['kind'] | undefined {
  if (char === '{') {
    scan.open.push(new Set())
    return advance(scan, 'key_or_end')
  }
  if (char === '[') {
    scan.open.push(null)
    return advance(scan, 'value_or_end')
  }
  const end = char === '"' ? stringEnd(scan) : literalEnd(scan)
  if (end === undefined) return 'syntax'
  scan.position = end
  scan.expect = afterValue(scan)
  return undefined
}

function key(scan: Scan): JsonFault['kind'] | undefined {
  const end = scan.text[scan.position] === '"' ? stringEnd(scan) : undefined
  if (end === undefined) return 'syntax'
  const name = JSON.parse(scan.text.slice(scan.position, end)) as string
  const keys = scan.open.at(-1)!
  if (keys.has(name)) return 'duplicate_key'
  keys.add(name)
  scan.position = end
  scan.expect = 'colon'
  return undefined
}

const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

/** Behind the closing quote of the string that begins here; undefined when it has none or is not valid. */
function stringEnd({ text, position }: Scan): number | undefined {
  for (let at = position + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 0x22) return at + 1
    if (code < 0x20) return undefined
    if (code !== 0x5c) continue
    ESCAPE.lastIndex = at
    if (!ESCAPE.test(text)) return undefined
    at = ESCAPE.lastIndex - 1
  }
  return undefined
}

const LITERAL = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y

function literalEnd({ text, position }: Scan): number | undefined {
  LITERAL.lastIndex = position
  return LITERAL.test(text) ? LITERAL.lastIndex : undefined
}
