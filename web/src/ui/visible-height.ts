/** Whatever hides less of the page's height than this is no keyboard but a bar of the browser, in pixels. */
const LEAST_KEYBOARD_PX = 120

/**
 * Gives the page the height that an on-screen keyboard leaves: iOS puts the keyboard over the page instead of shrinking
 * the page, which would hide the line being typed.
 */
export function followKeyboard(): void {
  const { visualViewport } = window
  visualViewport?.addEventListener('resize', () => {
    const hidden = window.innerHeight - visualViewport.height
    const isKeyboard = visualViewport.scale === 1 && hidden > LEAST_KEYBOARD_PX
    document.body.style.height = isKeyboard ? `${visualViewport.height}px` : ''
    if (isKeyboard) window.scrollTo(0, 0)
  })
}
