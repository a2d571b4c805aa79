/** Runs test files in the order of their names: those that break parts of the cluster carry the later numbers. */
module.exports = class ByName {
  sort(tests) {
    return [...tests].sort((a, b) => (a.path < b.path ? -1 : 1))
  }
  shard(tests, { shardIndex, shardCount }) {
    return this.sort(tests).filter((_, i) => i % shardCount === shardIndex - 1)
  }
  allFailedTests(tests) {
    return tests
  }
  cacheResults() {}
}
