/** Runs test files in the order of their names: those that break parts of the cluster carry the later numbers. */
module.exports = class ByName {
  sort(tests) {
    return [...tests].sort((a, b) => (a.path < b.path ? -1 : 1))
  }
  /** Dealt out from the last, there and back: the later a file's number, the longer it takes. */
  shard(tests, { shardIndex, shardCount }) {
    const place = (i) => {
      const at = i % (2 * shardCount)
      return Math.min(at, 2 * shardCount - 1 - at)
    }
    const dealt = this.sort(tests).reverse()
    return this.sort(dealt.filter((_, i) => place(i) === shardIndex - 1))
  }
  allFailedTests(tests) {
    return tests
  }
  cacheResults() {}
}
