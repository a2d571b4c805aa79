import { expect, test } from '@jest/globals'
import { AppError, ERRORS, isAppError, toProblem } from './errors.ts'

test('codes are lower snake case and their statuses are errors', () => {
  for (const [code, row] of Object.entries(ERRORS)) {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
    expect(row.status).toBeGreaterThanOrEqual(400)
    expect(row.title).not.toMatch(/\.$/)
  }
})

test('an AppError becomes its problem document', () => {
  const error = new AppError('unknown_field', { detail: 'x', errors: [{ path: 'comand', message: 'y' }] })
  expect(toProblem(error, 'req-1')).toEqual({
    type: expect.stringMatching(/#unknown_field$/),
    title: 'A field is unknown',
    status: 400,
    detail: 'x',
    instance: 'req-1',
    code: 'unknown_field',
    errors: [{ path: 'comand', message: 'y' }],
  })
})

test.each([[new Error('password=1')], ['password=1'], [null], [{ name: 'AppError', code: 'nope' }]])(
  'any other error leaves as internal_error and reveals nothing internal (%p)',
  (error) => {
    const problem = toProblem(error, 'req-1')
    expect(problem.code).toBe('internal_error')
    expect(JSON.stringify(problem)).not.toContain('password')
  },
)

test('an AppError is recognised by its name and code, not by its class', () => {
  expect(isAppError(Object.assign(new Error('x'), { name: 'AppError', code: 'not_found' }))).toBe(true)
  expect(isAppError(Object.assign(new Error('x'), { name: 'AppError', code: 'other' }))).toBe(false)
  expect(isAppError(Object.assign(new Error('x'), { name: 'AppError' }))).toBe(false)
})
