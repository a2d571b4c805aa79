import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { CASES, CHART, caseNamed, helm, objectsOf, type ValuesCase, VALUES_CASES, whyNoHelm } from './helm.ts'

const KINDS: Record<string, string> = {
  ingress: 'Ingress',
  secret: 'Secret',
  managedcertificate: 'ManagedCertificate',
  job: 'Job',
  serviceaccount: 'ServiceAccount',
  networkpolicy: 'NetworkPolicy',
}

/** Objects that commands name: `kubectl get secret a -n …`, `kubectl delete job,serviceaccount -n … b`. */
function namedIn(notes: string): string[] {
  const got = [...notes.matchAll(/kubectl get (\w+) ([\w.-]+) -n/g)].map(([, kind, name]) => `${KINDS[kind!]} ${name}`)
  const deleted = [...notes.matchAll(/kubectl delete ([\w,]+) -n \S+ ([\w .-]+)$/gm)].flatMap(([, kinds, names]) =>
    kinds!.split(',').flatMap((kind) => names!.split(' ').map((name) => `${KINDS[kind] ?? kind} ${name}`)),
  )
  return [...new Set([...got, ...deleted])]
}

describe('the checker of names in the notes', () => {
  test('finds what is read and what is deleted', () => {
    const notes =
      'a=$(kubectl get secret x -n n -o json)\nkubectl delete job,serviceaccount -n n y\nkubectl delete pvc -n n z'
    expect(namedIn(notes)).toEqual(['Secret x', 'Job y', 'ServiceAccount y', 'pvc z'])
  })
})

if (whyNoHelm !== undefined) console.log(`The chart's notes are not looked at: ${whyNoHelm}.`)
else {
  const notesOf = ({ name, release, namespace, profiles }: ValuesCase): string => {
    const files = [...profiles.map((file) => path.join(CHART, file)), path.join(CASES, `${name}.yaml`)]
    const values = files.flatMap((file) => ['--values', file])
    const text = helm(['install', release, CHART, '--namespace', namespace, '--dry-run=client', ...values])
    return text.slice(text.indexOf('\nNOTES:\n') + 8)
  }

  describe.each(VALUES_CASES)('the notes of $name', (given) => {
    const notes = notesOf(given)

    test('name nothing that does not exist', () => {
      const there = objectsOf(given).map(({ kind, metadata }) => `${kind} ${metadata.name}`)
      const foreign = ['pvc data-cliscale-postgresql-0', 'Secret key-api']
      expect(namedIn(notes).filter((one) => !there.includes(one) && !foreign.includes(one))).toEqual([])
      expect(namedIn(notes).some((one) => one.startsWith('Secret'))).toBe(true)
    })

    test('say how to begin, what is not secure, and what stays behind', () => {
      const text = JSON.stringify(objectsOf(given))
      expect(notes).toContain('curl -X POST "$CLISCALE_URL/api/sessions"')
      expect(notes).toMatch(/export CLISCALE_URL=http\S+/)
      const isPlain = given.name !== 'no-ingress' && !/"tls":|managed-certificates/.test(text)
      expect(notes.includes('WARNING: plain http')).toBe(isPlain)
      expect(notes.includes('networkPolicy.enabled is false')).toBe(given.name === 'no-ingress')
      expect(notes.includes('one pod without backups')).toBe(text.includes('"kind":"StatefulSet"'))
      const kept = objectsOf(given).filter(
        ({ metadata }) => metadata.annotations?.['helm.sh/resource-policy'] === 'keep',
      )
      for (const { metadata } of kept) expect(notes).toMatch(new RegExp(`kubectl delete secret .*${metadata.name}`))
    })
  })

  test('contain the address of the reference unchanged', () => {
    expect(notesOf(caseNamed('existing-database'))).toContain(
      "export LB_IP=$(kubectl get ingress cliscale-ingress -n ws-cli -o jsonpath='{.status.loadBalancer.ingress[0].ip}')",
    )
    expect(notesOf(caseNamed('existing-database'))).toContain(
      "export API_KEY=$(kubectl get secret cliscale-api-key -n ws-cli -o jsonpath='{.data.API_KEY}' | base64 -d)",
    )
  })
}
