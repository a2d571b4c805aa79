import { readFile } from 'node:fs/promises'
import type { Logger } from '@cliscale/service-kit'
import { createSigner, type Signer, signingKeyFaults, splitPem } from './signer.ts'

/** A signer whose keys follow a file. */
export interface FileSigner extends Signer {
  /** Reads the file now. Resolves when its keys are in use, or have been refused. */
  reload(): Promise<void>
  close(): void
}

export interface KeyFileOptions {
  readonly file: string
  readonly logger: Logger
  /** Between two looks at the file; 5 s when absent. */
  readonly everyMs?: number
}

/**
 * A signer over the keys of a file that somebody else changes: the kubelet, when the Secret that is mounted there has
 * changed. It is read every few seconds, which finds a file behind swapped links as well as one that was written anew
 * (a watch sees neither for certain). What cannot be used changes nothing and is told once. The caller closes it.
 *
 * @throws Error when the file cannot be read or used at first.
 */
export async function createFileSigner(options: KeyFileOptions): Promise<FileSigner> {
  const signer = new ReloadingSigner(options)
  await signer.begin()
  return signer
}

class ReloadingSigner implements FileSigner {
  readonly #options: KeyFileOptions
  #current!: Signer
  /** The text that was last looked at, and the last fault that was told. */
  #seen = ''
  #told: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeyFileOptions) {
    this.#options = options
  }

  readonly sign: Signer['sign'] = (claims, options) => this.#current.sign(claims, options)
  readonly jwks: Signer['jwks'] = () => this.#current.jwks()
  readonly hostJwks: Signer['hostJwks'] = () => this.#current.hostJwks()
  readonly keys: Signer['keys'] = (header, token) => this.#current.keys(header, token)

  async begin(): Promise<void> {
    this.#seen = await readFile(this.#options.file, 'utf8')
    this.#current = await createSigner(splitPem(this.#seen))
    this.#timer = setInterval(() => void this.reload(), this.#options.everyMs ?? 5_000).unref()
  }

  async reload(): Promise<void> {
    try {
      const text = await readFile(this.#options.file, 'utf8')
      if (text === this.#seen) return this.#tell(undefined)
      const keys = splitPem(text)
      const faults = signingKeyFaults(keys)
      if (faults.length > 0) return this.#tell(`the file ${faults.join(', ')}`)
      this.#current = await createSigner(keys)
      this.#seen = text
      const kids = this.#current.jwks().keys.map(({ kid }) => kid)
      this.#options.logger.info({ kids, hostKeys: this.#current.hostJwks().keys.length }, 'signing keys changed')
      this.#tell(undefined)
    } catch (error) {
      this.#tell(`the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`)
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #tell(fault: string | undefined): void {
    if (fault !== undefined && fault !== this.#told)
      this.#options.logger.error({ fault }, 'the signing keys stay as they are')
    this.#told = fault
  }
}
