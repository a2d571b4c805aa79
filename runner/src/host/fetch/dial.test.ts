import { describe, expect, test } from '@jest/globals'
import { checkedLookup, resolveChecked } from './dial.ts'

const policy = { codeHosts: [], unsafeHosts: ['inside.example:8080'], localFolders: false }
const v4 = { address: '140.82.121.3', family: 4 }
const v6 = { address: '2606:50c0:8000::153', family: 6 }

describe('resolveChecked', () => {
  test('returns public addresses unchanged', async () => {
    await expect(resolveChecked(new URL('https://a.example'), policy, async () => [v4, v6])).resolves.toEqual([v4, v6])
  })

  test('refuses a name for one forbidden address, unless its host and port are listed', async () => {
    const resolve = async (): Promise<(typeof v4)[]> => [v4, { address: '10.0.0.1', family: 4 }]
    const refused = { reason: 'code_host_refused' }
    await expect(resolveChecked(new URL('https://a.example'), policy, resolve)).rejects.toMatchObject(refused)
    await expect(resolveChecked(new URL('https://inside.example'), policy, resolve)).rejects.toMatchObject(refused)
    await expect(resolveChecked(new URL('http://inside.example:8080'), policy, resolve)).resolves.toHaveLength(2)
  })

  test('says that a name has no address', async () => {
    await expect(resolveChecked(new URL('https://a.example'), policy, async () => [])).rejects.toMatchObject({
      reason: 'download_failed',
    })
  })
})

describe('checkedLookup', () => {
  const look = (options: object): Promise<unknown[]> =>
    new Promise((resolve) => {
      const lookup = checkedLookup(new URL('https://a.example'), policy, async () => [v4, v6])
      lookup('ignored.example', options, (...answer) => resolve(answer))
    })

  test('answers like dns.lookup, in both forms and by family', async () => {
    await expect(look({ all: true })).resolves.toEqual([null, [v4, v6]])
    await expect(look({})).resolves.toEqual([null, v4.address, 4])
    await expect(look({ family: 6 })).resolves.toEqual([null, v6.address, 6])
  })
})
