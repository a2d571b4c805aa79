import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { ConfigError } from '../src/config.ts'
import { createLogger } from '../src/logger.ts'
import { listen } from '../src/listen.ts'
import { createMetrics, startMetricsServer } from '../src/metrics.ts'

function quiet(lines: string[] = []) {
  return createLogger({ service: 'test', destination: { write: (line) => void lines.push(line) } })
}

describe('the listener for metrics', () => {
  test('serves /metrics and nothing else', async () => {
    const metrics = createMetrics()
    metrics.counter({ name: 'cliscale_x_total', help: 'X' }).add({})
    const server = await startMetricsServer({ metrics, port: 0, address: '127.0.0.1', logger: quiet() })
    const base = `http://127.0.0.1:${server.port}`
    const answer = await fetch(`${base}/metrics?name=x`)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(await answer.text()).toBe(
      '# HELP cliscale_x_total X.\n# TYPE cliscale_x_total counter\ncliscale_x_total 1\n',
    )
    for (const path of ['/', '/metrics/', '/healthz', '/debug/pprof', '/../metrics2'])
      expect((await fetch(base + path)).status).toBe(404)
    expect((await fetch(`${base}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405)
    await server.close()
  })

  test('answers 500 without internal details when a metric cannot be read, and serves the next scrape', async () => {
    const metrics = createMetrics()
    let isBroken = true
    metrics.gauge({ name: 'cliscale_x', help: 'X' }, () => {
      if (isBroken) throw new Error('password=1')
      return [[{}, 1]]
    })
    const lines: string[] = []
    const server = await startMetricsServer({ metrics, port: 0, address: '127.0.0.1', logger: quiet(lines) })
    const base = `http://127.0.0.1:${server.port}/metrics`
    const broken = await fetch(base)
    expect([broken.status, await broken.text()]).toEqual([500, expect.not.stringContaining('password')])
    expect(lines.join()).toContain('metrics could not be collected')
    isBroken = false
    expect((await fetch(base)).status).toBe(200)
    await server.close()
  })

  test('reports on the process too, and closes while a scraper holds its connection', async () => {
    const metrics = createMetrics({ processDefaults: true })
    const server = await startMetricsServer({ metrics, port: 0, address: '127.0.0.1', logger: quiet() })
    const agent = new http.Agent({ keepAlive: true })
    const request = http.get({ port: server.port, path: '/metrics', agent })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    let text = ''
    for await (const chunk of response) text += String(chunk)
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds', 'process_open_fds'])
      expect(text).toContain(`\n${name}`)
    await server.close()
    agent.destroy()
  })
})

describe('a port that cannot be opened', () => {
  test('is reported in one sentence that names the setting', async () => {
    const other = net.createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const server = http.createServer()
    const taken = listen(server, { port, address: '127.0.0.1', setting: 'CLISCALE_PORT' })
    await expect(taken).rejects.toThrow(`CLISCALE_PORT: port ${port} of 127.0.0.1 is in use by another program`)
    await expect(taken).rejects.toBeInstanceOf(ConfigError)
    const nowhere = listen(server, { port: 0, address: '192.0.2.1', setting: 'CLISCALE_LISTEN_ADDRESS' })
    await expect(nowhere).rejects.toThrow('this machine does not have the address')
    other.close()
    await once(other, 'close')
  })
})
