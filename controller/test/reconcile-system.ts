import { ClaimResponse } from '@cliscale/contract'
import type { TestPostgres } from '@cliscale/test-kit'
import type { Launcher } from '../src/launch/launcher.ts'
import type { Reconciler } from '../src/reconcile/reconciler.ts'
import { createReconcilers, type ReconcilersDeps } from '../src/reconcile/reconcilers.ts'
import {
  call,
  createInternalServer,
  createStore,
  type InternalServer,
  logger,
  NONCE,
  type Store,
} from './host-api-system.ts'
import { expectEventually } from './launch-contract.ts'
import { createLocalSystem, type LocalSystem } from './launch-local-system.ts'

/** Short times, so that a test sees them pass. */
export const TIMINGS = {
  everyMs: 100,
  stopLimitMs: 600,
  overdueSeconds: 3_600,
  patienceMs: 0,
  lostGraceMs: 300,
  faultGraceMs: 900,
  nodeLostGraceMs: 300,
  pullLimitMs: 600,
  lingerSeconds: 0.5,
  rowlessMs: 300,
  launchSeconds: 0.3,
  pruneEveryMs: 100,
}

export interface ReconcileSystem extends AsyncDisposable {
  readonly store: Store
  readonly local: LocalSystem
  readonly internal: InternalServer
  readonly reconciler: Reconciler
}

/** Another reconciler on the same database; the caller starts and closes it. */
export function reconcilerOf(store: Store, launcher: Launcher, extra: Partial<ReconcilersDeps> = {}): Reconciler {
  return createReconcilers({
    pool: store.pool,
    launchers: new Map([[null, launcher]]),
    logger,
    queueLimitSeconds: 60,
    retentionSeconds: 3600,
    prune: () => Promise.resolve(0),
    timings: TIMINGS,
    ...extra,
  })
}

/** Database, launcher with small programs, internal API and a reconciler that runs. */
export async function createReconcileSystem(
  extra: Partial<ReconcilersDeps> & { wrap?: (launcher: Launcher) => Launcher; postgres?: TestPostgres } = {},
): Promise<ReconcileSystem> {
  const { wrap = (launcher: Launcher) => launcher, postgres, ...deps } = extra
  const store = await createStore(postgres)
  const local = await createLocalSystem()
  const internal = await createInternalServer(store, local.launcher)
  const reconciler = reconcilerOf(store, wrap(local.launcher), deps)
  reconciler.start()
  return {
    store,
    local,
    internal,
    reconciler,
    [Symbol.asyncDispose]: async () => {
      await reconciler.close()
      await internal[Symbol.asyncDispose]()
      await local.dispose()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** A launcher with some calls of another. */
export function overriding(launcher: Launcher, calls: Partial<Launcher>): Launcher {
  return {
    launch: (asked) => launcher.launch(asked),
    list: () => launcher.list(),
    refresh: () => launcher.refresh(),
    identify: (token) => launcher.identify(token),
    remove: (id, launchId) => launcher.remove(id, launchId),
    expectEnd: (id) => launcher.expectEnd(id),
    onChange: (listener) => launcher.onChange(listener),
    close: () => launcher.close(),
    ...calls,
  }
}

/** Creates a session, wakes the reconciler, and claims it once it is launched. */
export async function claimRunning(system: ReconcileSystem): Promise<{ id: string; claim: ClaimResponse }> {
  const id = await system.store.createSession()
  system.reconciler.wake()
  await expectEventually(async () => (await system.local.launcher.list()).some((entry) => entry.sessionId === id))
  const json = { nonce: NONCE }
  const answer = await call(`${system.internal.url}/internal/claim`, await system.local.tokenOf(id), { json })
  return { id, claim: ClaimResponse.parse(await answer.json()) }
}
