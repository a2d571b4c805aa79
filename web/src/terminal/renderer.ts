import type { Terminal } from '@xterm/xterm'
import { WebglAddon } from '@xterm/addon-webgl'

/** The most by which rounding makes a size in device pixels differ from the browser's ratio, in device pixels. */
const ROUNDING_PX = 2

/**
 * Draws with WebGL where the browser can, otherwise with xterm.js's own DOM renderer. When the context is lost (a sleeping
 * GPU, a 17th terminal in Chromium), the terminal falls back for good: asking for it again and again would flicker.
 */
export function useFastRenderer(terminal: Terminal, onChange: (renderer: 'webgl' | 'dom') => void): void {
  const addon = createAddon()
  if (addon === undefined) return onChange('dom')
  let isLost = false
  let stopWatching = (): void => {}
  const fallBack = (): void => {
    if (isLost) return
    isLost = true
    stopWatching()
    addon.dispose()
    onChange('dom')
    terminal.refresh(0, terminal.rows - 1)
  }
  addon.onContextLoss(fallBack)
  // @xterm/addon-webgl 0.19.0 itself waits 3 s for the context to come back, with a blank screen.
  terminal.element?.addEventListener('webglcontextlost', fallBack, { capture: true })
  try {
    terminal.loadAddon(addon)
    onChange('webgl')
    stopWatching = watchPixels(terminal.element, fallBack)
  } catch {
    fallBack()
  }
}

function createAddon(): WebglAddon | undefined {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true })
  if (context === null) return undefined
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return new WebglAddon()
}

/**
 * Calls `onMismatch` when the browser counts other device pixels than its ratio says, as Chromium does under an emulated
 * ratio (its tools' device toolbar). @xterm/addon-webgl 0.19.0 then sizes its canvas by the one and draws by the other,
 * most of it outside (xtermjs/xterm.js#6115). Returns what ends the watch.
 */
function watchPixels(element: HTMLElement | undefined, onMismatch: () => void): () => void {
  const observer = new ResizeObserver(([entry]) => {
    const device = entry?.devicePixelContentBoxSize?.[0]?.inlineSize
    const css = entry?.contentBoxSize[0]?.inlineSize
    if (device === undefined || css === undefined) return
    if (Math.abs(device - css * devicePixelRatio) > ROUNDING_PX) onMismatch()
  })
  try {
    if (element !== undefined) observer.observe(element, { box: 'device-pixel-content-box' })
  } catch {
    // Safari does not know this box; the add-on does not use it there either.
  }
  return () => observer.disconnect()
}
