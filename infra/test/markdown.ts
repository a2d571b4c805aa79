/** A fenced block of a document. */
export interface CodeBlock {
  readonly language: string
  readonly text: string
}

export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^( *)```(\w+)\n([\s\S]*?)^\1```$/gm)].map(
    ([, indent = '', language = '', text = '']) => ({
      language,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    }),
  )
}

/** What stands between single backticks outside of fenced blocks. */
export function inlineCode(markdown: string): string[] {
  const prose = markdown.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
  return [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
}

/** Commands of bash blocks and of inline code, one a line, joined where a backslash ends the line. */
export function commands(markdown: string): string[] {
  const blocks = codeBlocks(markdown)
    .filter(({ language }) => language === 'bash')
    .flatMap(({ text }) => text.replaceAll(/\s*\\\n\s*/g, ' ').split('\n'))
  return [...blocks, ...inlineCode(markdown)].map((line) => line.trim()).filter((line) => line !== '')
}

/** The anchors that a document's headings have on a page. */
export function anchors(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title)
  return new Set(
    headings.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** Links to other files and headings: [target, anchor]. */
export function links(markdown: string): [file: string, anchor: string][] {
  return [...markdown.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].map(([, file = '', anchor = '']) => [
    file,
    anchor,
  ])
}
