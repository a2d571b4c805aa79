/**
 * Which files of a Jest configuration run, by TEST_SLOW, which scripts/test.mjs sets: "no" leaves the slow ones out,
 * "only" takes no others; all run when it is not set. `testMatch` and `slow` are globs from the root.
 */
export function chooseTests(testMatch, slow) {
  const globs = (files) => files.map((file) => `<rootDir>/${file}`)
  if (process.env['TEST_SLOW'] === 'only') return { testMatch: globs(slow) }
  const leftOut = process.env['TEST_SLOW'] === 'no' ? slow.map((file) => `!**/${file}`) : []
  return { testMatch: [...globs(testMatch), ...leftOut] }
}
