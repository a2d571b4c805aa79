/** Pages of documentation, made from the schemas and catalogues that the programs themselves use. No I/O. */

const NOTE = '<!-- Made by "npm run generate -w controller". Do not edit. -->\n'

/** docs/errors.md: every code that the API can answer, and every reason that a session can end for. */
export function errorsPage(errors, reasons) {
  const codes = Object.entries(errors).map(([code, row]) => [
    `<a id="${code}"></a>\`${code}\``,
    row.status,
    cell(row.title),
    row.retryable ? 'yes' : 'no',
  ])
  const ends = Object.entries(reasons).map(([reason, row]) => [
    `\`${reason}\``,
    cell(row.hint),
    row.retryable ? 'yes' : 'no',
  ])
  return [
    NOTE,
    '# Errors',
    'Every refusal is an `application/problem+json` document (RFC 9457) with a `code` from this list. `detail` names the field, the limit and what to do; `errors` lists every fault of a request body; `instance` is the request id, also in the header `X-Request-Id`.',
    table(['Code', 'Status', 'Meaning', 'The same request may succeed later'], codes),
    '# Reasons',
    'Why a session waits or ended: the `reason` in `GET /api/sessions/{id}`, also shown in the terminal and the log. A success has none.',
    table(['Reason', 'What to do', 'Starting it again may help'], ends),
  ].join('\n\n')
}

/** docs/config.md: one table for each program. */
export function settingsPage(parts) {
  const sections = parts.flatMap(({ title, env }) => [`## ${title}`, table(['Name', 'Default', 'Meaning'], rows(env))])
  return [
    NOTE,
    '# Settings',
    'All settings are environment variables. All errors are reported together at the start (exit code 78); a `CLISCALE_*` name that is not listed is an error. A setting marked secret can also be read from the file that `NAME_FILE` names, and is never shown.',
    ...sections,
  ].join('\n\n')
}

/** docs/metrics.md: one table for each program, of what it registers. */
export function metricsPage(parts) {
  const sections = parts.flatMap(({ title, rows: metrics }) => [
    `## ${title}`,
    table(['Name', 'Type', 'Labels', 'Meaning'], metrics.map(metricRow)),
  ])
  return [
    NOTE,
    '# Metrics',
    'Controller and gateway each serve `GET /metrics` in the Prometheus text format, only on the port of `CLISCALE_METRICS_PORT`; without that setting, they do not serve it. A label has one of the listed values, or `other`; no label contains an id. The usual `process_*` and `nodejs_*` metrics of a Node process come in addition. A histogram has `_bucket`, `_sum` and `_count`.',
    ...sections,
  ].join('\n\n')
}

function metricRow({ name, type, labels, help }) {
  const shown = Object.entries(labels).map(([label, values]) =>
    values.length > MAX_SHOWN ? `\`${label}\`` : `\`${label}\`: ${values.map((value) => `\`${value}\``).join(', ')}`,
  )
  return [`\`${name}\``, type, shown.join('; '), cell(help)]
}

/** Labels with more values than this have a list of their own: routes, codes, reasons. */
const MAX_SHOWN = 12

function rows(env) {
  return Object.entries(env).map(([name, field]) => {
    const { description = '', secret = false } = field.meta() ?? {}
    if (description === '') throw new Error(`${name} has no description: add .meta({ description })`)
    return [`\`${name}\``, defaultOf(field), `${cell(description)}${secret ? ' Secret.' : ''}`]
  })
}

function defaultOf(field) {
  const { type, defaultValue } = field.def
  if (type === 'optional') return ''
  if (type !== 'default') return 'required'
  const value = Array.isArray(defaultValue) ? defaultValue.join(',') : String(defaultValue)
  return value === '' ? 'empty' : `\`${value}\``
}

function table(head, body) {
  return [head, head.map(() => '---'), ...body].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function cell(text) {
  return text.replaceAll('|', '\\|')
}
