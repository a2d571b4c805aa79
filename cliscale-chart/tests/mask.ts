/**
 * Replaces what the chart makes at random, in the text of Secrets, by a word for its form. What has not exactly that
 * form stays, so that a golden file differs.
 */
export function maskGenerated(text: string): string {
  return text
    .split(/^---\n/m)
    .map((object) => (/^kind: Secret$/m.test(object) ? object.replace(/^(  [\w.-]+: )(\S+)$/gm, maskLine) : object))
    .join('---\n')
}

const FORMS: readonly [RegExp, string][] = [
  [/^cs_key_[A-Za-z0-9]{40}$/, '<cs_key_ and 40 characters>'],
  [/^[A-Za-z0-9+/]{43}=$/, '<32 bytes as base64>'],
  [
    /^-----BEGIN RSA PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{1500,1800}-----END RSA PRIVATE KEY-----\n$/,
    '<RSA key of 2048 bits in PEM>',
  ],
  [/^[A-Za-z0-9]{32}$/, '<32 characters>'],
]

function maskLine(line: string, name: string, value: string): string {
  const plain = Buffer.from(value, 'base64').toString()
  const form = FORMS.find(([pattern]) => pattern.test(plain))
  if (form) return `${name}${form[1]}`
  const url = /^(postgres:\/\/\w+:)([A-Za-z0-9]{32})(@\S+)$/.exec(plain)
  return url ? `${name}${url[1]}<32 characters>${url[3]}` : line
}
