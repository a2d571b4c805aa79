import type { Fault } from './faults.ts'

/** What the sessions of an image are: `ttyd` runs what it runs, with a terminal server of its own. */
export type ImageKind = 'runner' | 'ttyd'

/** The images that a session may name, by their names. */
export type ImageKinds = Readonly<Record<string, ImageKind>>

/** What only a host can do: a terminal of its own has none. */
const OF_THE_HOST = ['command', 'code_url', 'code_checksum_sha256', 'install_cmd', 'prompt', 'env'] as const

/** The kind of session that a body asks for; undefined when it names no image that is allowed. */
export function kindOf(body: Readonly<Record<string, unknown>>, images: ImageKinds): ImageKind | undefined {
  const { image } = body
  if (image === undefined) return 'runner'
  return typeof image === 'string' && Object.hasOwn(images, image) ? images[image] : undefined
}

/** What is wrong with the image that a body names, and with what it asks of it. */
export function imageFaults(body: Readonly<Record<string, unknown>>, images: ImageKinds): Fault[] {
  const kind = kindOf(body, images)
  if (kind === 'ttyd')
    return OF_THE_HOST.filter((field) => body[field] !== undefined).map((path) => ({
      code: 'invalid_field',
      path,
      message: 'cannot be used with this image, which brings its own terminal and command: leave it out',
    }))
  // Something else than a string is told by the schema.
  if (kind !== undefined || typeof body['image'] !== 'string') return []
  const names = Object.keys(images)
  const message =
    names.length === 0
      ? 'cannot be chosen: this server allows only its own image; leave it out'
      : `must be one of ${names.map((name) => JSON.stringify(name)).join(', ')}, or left out`
  return [{ code: 'invalid_field', path: 'image', message }]
}
