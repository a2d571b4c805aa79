import type { Terminal } from '@xterm/xterm'
import { WebglAddon } from '@xterm/addon-webgl'

/**
 * Draws by WebGL where the browser can, else by xterm.js's own DOM renderer. A context that is lost (a sleeping GPU,
 * a 17th terminal in Chromium) falls back for good: fighting for it would flicker.
 */
export function useFastRenderer(terminal: Terminal, onChange: (renderer: 'webgl' | 'dom') => void): void {
  const addon = createAddon()
  if (addon === undefined) return onChange('dom')
  addon.onContextLoss(() => {
    addon.dispose()
    onChange('dom')
    terminal.refresh(0, terminal.rows - 1)
  })
  try {
    terminal.loadAddon(addon)
    onChange('webgl')
  } catch {
    addon.dispose()
    onChange('dom')
  }
}

function createAddon(): WebglAddon | undefined {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true })
  if (context === null) return undefined
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return new WebglAddon()
}
