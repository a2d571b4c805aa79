/** What a person has to mend: its message is all that is shown, and the process ends with `exitCode`. */
export class UserError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode = 1) {
    super(message)
    this.name = 'UserError'
    this.exitCode = exitCode
  }
}

const SYSTEM_FAULTS: Readonly<Record<string, string>> = {
  EACCES:
    'this user may not do that. Start as the user who owns the folder, or choose another one with CLISCALE_DATA_DIR',
  EAGAIN: 'there are too many processes. End some, or raise the limit with: ulimit -u',
  EDQUOT: 'your share of the disk is used up. Make room, or choose another data folder with CLISCALE_DATA_DIR',
  EFBIG: 'a file would be larger than your limit. Raise it with: ulimit -f unlimited',
  EMFILE: 'too many files are open. Raise the limit with: ulimit -n 4096',
  ENFILE: 'the whole system has too many files open. End some programs',
  ENOMEM: 'there is not enough memory. End some programs, or raise the limit with: ulimit -v unlimited',
  ENOSPC: 'the disk is full. Make room, or choose another data folder with CLISCALE_DATA_DIR',
  EPERM:
    'this user may not do that. Start as the user who owns the folder, or choose another one with CLISCALE_DATA_DIR',
  EROFS: 'the disk is read-only. Choose another data folder with CLISCALE_DATA_DIR',
}

/** One sentence for what the system refused, with what to do; undefined for an error that is none of the system's. */
export function systemFault(error: unknown): string | undefined {
  const { code = '', message, path: file } = error as NodeJS.ErrnoException
  const why = SYSTEM_FAULTS[code]
  if (why === undefined) return undefined
  return `CLI Scale cannot continue${file === undefined ? '' : ` with ${file}`}: ${why}. (${message})`
}
