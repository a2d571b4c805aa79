export interface InstallStep {
  /** What bash runs. */
  readonly run: string
  /** What the terminal calls it; null for the order's own command. */
  readonly shown: string | null
  /** Why it was chosen, as the second half of a sentence. */
  readonly because: string
}

/** What is to be installed, for one kind of project or for all. */
export interface InstallPart {
  readonly steps: readonly InstallStep[]
  /** Sentences for the terminal. */
  readonly remarks: readonly string[]
  /** Folders that go before the search path, for the install and the command. */
  readonly pathFirst: readonly string[]
  /** Further variables for the install and the command. */
  readonly env: Readonly<Record<string, string>>
  /** Why the code cannot be installed here, and what to do about it: then nothing is run. */
  readonly missing?: string
}

export const NOTHING: InstallPart = { steps: [], remarks: [], pathFirst: [], env: {} }
