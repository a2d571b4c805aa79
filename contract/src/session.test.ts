import { expect, test } from '@jest/globals'
import { FinalReport } from './internal.ts'
import { factsOf, FINAL_STATUSES, REASONS } from './session.ts'

test('every reason has a full sentence and a final status', () => {
  for (const [reason, facts] of Object.entries(REASONS)) {
    expect(facts.hint).toMatch(/^[A-Z].*\.$/)
    expect(FINAL_STATUSES).toContain(factsOf(reason).status ?? 'failed')
  }
})

test('a reason that only a newer release knows is accepted and described as unknown', () => {
  for (const reason of ['budget_spent', 'toString', '__proto__', ''])
    expect(factsOf(reason)).toEqual({ retryable: true, hint: 'This version of CLI Scale does not know the reason.' })
  const report = { status: 'failed', reason: 'budget_spent', detail: 'Too dear.', exitCode: 1, signal: null }
  expect(FinalReport.parse(report)).toEqual({ ...report, reason: 'internal' })
  expect(FinalReport.safeParse({ ...report, reason: 'Not a reason' }).success).toBe(false)
})
