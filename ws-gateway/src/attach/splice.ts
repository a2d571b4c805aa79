import type { Socket } from 'node:net'

/** Which side began to leave; `stalled`: the pod took nothing and said nothing for too long. */
export type SpliceEnd = 'client' | 'pod' | 'stalled'

export interface SpliceOptions {
  /** After one side has ended, how long the other may take to be done, in milliseconds. */
  readonly lingerMs: number
  /** How long a pod may refuse to take what its client sent, and say nothing itself, in milliseconds. */
  readonly stallMs: number
  /** Both sockets are closed; `cause` says why. */
  readonly onClosed: (cause: SpliceEnd) => void
}

/**
 * Copies bytes both ways between a client and its pod until either leaves; it looks at none of them. A side that ends
 * is answered by ending the other, so that what is on its way (a Close frame) still arrives; a side that fails takes
 * the other with it at once. Both are destroyed on every way out: a socket that is only ended stays for ever when its
 * peer does not read (http-party/node-http-proxy#1510).
 *
 * Both sockets must be paused and have an error handler.
 *
 * @returns how to half-close towards the pod, which makes a session host say goodbye to the viewer.
 */
export function splice(client: Socket, pod: Socket, options: SpliceOptions): { endPod: () => void } {
  let cause: SpliceEnd | undefined
  let linger: NodeJS.Timeout | undefined
  let stall: NodeJS.Timeout | undefined
  const destroyBoth = (): void => {
    client.destroy()
    pod.destroy()
  }
  const onGone = (side: SpliceEnd, other: Socket, isClean: boolean): void => {
    cause ??= side
    if (!isClean) return destroyBoth()
    // Ending what is destroyed makes an error object with a stack, for nobody, at every goodbye.
    if (!other.destroyed && !other.writableEnded) other.end()
    linger ??= setTimeout(destroyBoth, options.lingerMs)
  }
  const connect = (from: Socket, to: Socket, side: SpliceEnd): void => {
    from.on('data', (chunk: Buffer) => {
      // After its end a side takes no more; what still comes for it is read and dropped.
      if (to.writable && !to.write(chunk)) from.pause()
    })
    to.on('drain', () => from.resume())
    from.once('end', () => onGone(side, to, true))
    from.once('close', (hadError: boolean) => {
      onGone(side, to, from.readableEnded && !hadError)
      // Nobody drains for it any more: it is read to its end, and dropped.
      to.resume()
      settle()
    })
  }
  const settle = (): void => {
    if (!client.closed || !pod.closed) return
    clearTimeout(linger)
    clearTimeout(stall)
    // Both had left before there was a splice: nobody watched who was first.
    options.onClosed(cause ?? 'client')
  }
  connect(client, pod, 'client')
  connect(pod, client, 'pod')
  // A client that is not read cannot be seen to leave. One that waits this long for a pod that is silent (a session host
  // has a heartbeat) waits for a stuck one; a program that does not read what is pasted is no fault of its host.
  const onStalled = (): void => {
    cause ??= 'stalled'
    destroyBoth()
  }
  client.on('pause', () => (stall ??= setTimeout(onStalled, options.stallMs)))
  client.on('resume', () => {
    clearTimeout(stall)
    stall = undefined
  })
  pod.on('data', () => stall?.refresh())
  if (client.destroyed || pod.destroyed) destroyBoth()
  if (client.closed && pod.closed) queueMicrotask(settle)
  client.resume()
  pod.resume()
  return { endPod: () => pod.end() }
}
