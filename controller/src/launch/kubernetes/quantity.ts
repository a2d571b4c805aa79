const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
}
const FORM = /^(\d{1,15}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|Pi|[numkMGTP]|[eE]\d{1,2})?$/

/**
 * The value of a Kubernetes quantity such as `500m` or `1Gi`, in its base unit (cores, bytes); undefined when it is none.
 * Negative ones and those above 2^60 count as none: no session has a use for them.
 *
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export function parseQuantity(text: string): number | undefined {
  const match = FORM.exec(text)
  if (match === null) return undefined
  const [, digits = '', suffix = ''] = match
  const factor = /^[eE]/.test(suffix) ? 10 ** Number(suffix.slice(1)) : SUFFIXES[suffix]
  const value = Number(digits) * (factor ?? NaN)
  return Number.isFinite(value) && value <= 2 ** 60 ? value : undefined
}
