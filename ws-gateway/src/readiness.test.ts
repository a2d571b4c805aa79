import { describe, expect, test } from '@jest/globals'
import { createReadiness } from './readiness.ts'

const fine = (): Promise<unknown> => Promise.resolve()
const broken = (): Promise<unknown> => Promise.reject(new Error('away'))

describe('readiness', () => {
  test('holds when all checks pass, and not when one fails', async () => {
    const gateway = { isLeaving: false }
    await expect(createReadiness({ gateway, checks: [fine, fine] })()).resolves.toBeUndefined()
    await expect(createReadiness({ gateway, checks: [fine, broken] })()).rejects.toThrow('away')
  })

  test('runs no more checks once the gateway leaves', async () => {
    let asked = 0
    const check = (): Promise<unknown> => Promise.resolve(asked++)
    await expect(createReadiness({ gateway: { isLeaving: true }, checks: [check] })()).rejects.toThrow('leaving')
    expect(asked).toBe(0)
  })
})
