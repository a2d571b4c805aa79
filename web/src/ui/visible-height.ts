/** A keyboard on the screen takes less than this of its height only by accident (a browser's own bars), in pixels. */
const LEAST_KEYBOARD_PX = 120

/**
 * Gives the page the height that a keyboard on the screen leaves: iOS lays it over the page instead of making the page
 * smaller, so that the line that is typed would be hidden.
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
