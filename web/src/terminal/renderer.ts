import type { Terminal } from '@xterm/xterm'
import { WebglAddon } from '@xterm/addon-webgl'

/**
 * Draws by WebGL where the browser can, else by xterm.js's own DOM renderer. A context that is lost (a sleeping GPU,
 * a 17th terminal in Chromium) falls back for good: fighting for it would flicker.
 */
export function useFastRenderer(terminal: Terminal, onChange: (renderer: 'webgl' | 'dom') => void): void {
  const addon = createAddon()
  if (addon === undefined) return onChange('dom')
  let isLost = false
  const fallBack = (): void => {
    if (isLost) return
    isLost = true
    addon.dispose()
    onChange('dom')
    terminal.refresh(0, terminal.rows - 1)
  }
  addon.onContextLoss(fallBack)
  // The add-on itself waits 3 s, with a blank screen, for the context to come back (@xterm/addon-webgl 0.19.0).
  terminal.element?.addEventListener('webglcontextlost', fallBack, { capture: true })
  try {
    terminal.loadAddon(addon)
    onChange('webgl')
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
