import { clampFontSize, type Settings, type ThemeChoice } from '../settings-store.ts'
import { byId, make, setText } from './dom.ts'

interface Device {
  readonly isMac: boolean
  readonly isTouch: boolean
}

/** Sets up the settings popover. `onChange` gets all settings. */
export function setUpSettings(initial: Settings, device: Device, onChange: (settings: Settings) => void): void {
  let settings = initial
  const change = (part: Partial<Settings>): void => {
    settings = { ...settings, ...part }
    setText(byId('font-size'), String(settings.fontSize))
    onChange(settings)
  }
  const resize = (by: number) => () => change({ fontSize: clampFontSize(settings.fontSize + by) })
  setText(byId('font-size'), String(settings.fontSize))
  byId('font-smaller').addEventListener('click', resize(-1))
  byId('font-larger').addEventListener('click', resize(1))
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="theme"]')) {
    input.checked = input.value === settings.theme
    input.addEventListener('change', () => change({ theme: input.value as ThemeChoice }))
  }
  const switches = { 'screen-reader': 'screenReader', 'find-key': 'findKey', 'leave-key': 'leaveKey' } as const
  for (const [id, name] of Object.entries({ ...switches, 'option-key': 'optionIsMeta' } as const)) {
    const input = byId<HTMLInputElement>(id)
    input.checked = settings[name]
    input.addEventListener('change', () => change({ [name]: input.checked }))
  }
  byId('find-key-row').hidden = device.isMac
  byId('option-key-row').hidden = !device.isMac
  byId('open-search').title = `Search (${device.isMac ? '⌘F' : 'Ctrl-F'})`
  showKeys(device)
}

function showKeys({ isMac, isTouch }: Device): void {
  const keys: [string, string][] = [
    ['Leave the terminal', 'Esc, then Tab'],
    ['Search', isMac ? '⌘F' : 'Ctrl-F or Ctrl-Shift-F'],
    ['Copy', isMac ? '⌘C' : 'Ctrl-Shift-C'],
    ['Paste', isMac ? '⌘V' : 'Ctrl-Shift-V'],
    ['Open a link', isTouch ? 'Tap' : isMac ? '⌘-click' : 'Ctrl-click'],
  ]
  byId('keys').replaceChildren(...keys.flatMap(([what, key]) => [make('dt', {}, what), make('dd', {}, key)]))
}
