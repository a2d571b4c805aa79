import type { ClaimResponse } from '@cliscale/contract'

/** The report credential of a claim. A repeated claim replaces it, also one whose answer was lost. */
export class Credential {
  private value: string
  private renewing: Promise<boolean> | undefined
  private readonly claim: () => Promise<ClaimResponse | undefined>

  constructor(value: string, claim: () => Promise<ClaimResponse | undefined>) {
    this.value = value
    this.claim = claim
  }

  get current(): string {
    return this.value
  }

  /** Claims again, once for all who ask meanwhile. False when the claim is refused. */
  renew(): Promise<boolean> {
    this.renewing ??= this.claim()
      .then((answer) => {
        if (answer === undefined) return false
        this.value = answer.reportCredential
        return true
      })
      .finally(() => (this.renewing = undefined))
    return this.renewing
  }
}
