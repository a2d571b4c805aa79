/** A session of a system that runs, and a viewer that connects, reads and acknowledges as the page does. */
import { createApi, createNodeConnection } from '@cliscale/client'
import WebSocket from 'ws'

/**
 * Starts `command` at `base`, with the key of API_KEY, and attaches. `received` counts what came; `connection.offset` is
 * how far the output is, what was skipped included.
 */
export async function watch(base, command) {
  const { sessionId, sessionJWT } = await createApi({ base, key: process.env['API_KEY'] ?? '' }).create({ command })
  const viewer = { received: 0, lastAt: 0 }
  const take = (bytes, parsed) => {
    viewer.received += bytes.length
    viewer.lastAt = performance.now()
    parsed()
  }
  viewer.ended = new Promise((resolve, reject) => {
    viewer.connection = createNodeConnection({
      base,
      sessionId,
      token: sessionJWT,
      openSocket: (...args) => new WebSocket(...args),
      screen: { write: take, snapshot: take },
      onState: (state) => {
        if (state.kind === 'ended') resolve()
        else if (state.kind === 'reconnecting' || state.kind === 'stopped') reject(new Error(JSON.stringify(state)))
      },
    })
  })
  viewer.connection.start()
  return viewer
}
