/** Loaded into a gateway's process: tells the benchmark what the process holds. Needs --expose-gc. */
process.on('message', (message) => {
  if (message === 'resources') void tell()
})
process.channel.unref()

async function tell() {
  globalThis.gc()
  await new Promise((resolve) => setTimeout(resolve, 50))
  globalThis.gc()
  const names = process.getActiveResourcesInfo()
  const count = (name) => names.filter((n) => n === name).length
  process.send({
    sockets: count('TCPSocketWrap'),
    timers: count('Timeout'),
    rssBytes: process.memoryUsage.rss(),
    heapBytes: process.memoryUsage().heapUsed,
    cpuUs: process.cpuUsage().user + process.cpuUsage().system,
  })
}
