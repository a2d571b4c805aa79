/**
 * Lets xterm.js 6.0.0 live under `style-src 'self'`, without 'unsafe-inline' and without a nonce (the page is static).
 * It writes three <style> elements (Viewport, DomRenderer: xtermjs/xterm.js#4445) and style attributes
 * (DomRendererRowFactory), which the policy refuses. Constructed style sheets and CSSOM are not inline code: both are
 * turned into those. Must run before the first Terminal is made.
 */
export function allowTerminalStyles(document: Document): void {
  const create = document.createElement.bind(document)
  document.createElement = ((name: string, options?: ElementCreationOptions) =>
    name.toLowerCase() === 'style' ? styleStandIn(document, create('template')) : create(name, options)) as never
  // oxlint-disable-next-line typescript/unbound-method -- called with its element below
  const setAttribute = Element.prototype.setAttribute
  Element.prototype.setAttribute = function (this: Element, name: string, value: string): void {
    if (name === 'style' && this instanceof HTMLElement) this.style.cssText = value
    else setAttribute.call(this, name, value)
  }
}

/** An element that stands for a <style>: its text is a constructed sheet, in force until it is removed. */
function styleStandIn(document: Document, element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet()
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]
  let text = ''
  Object.defineProperty(element, 'textContent', {
    get: () => text,
    set: (value: string) => {
      text = value
      sheet.replaceSync(value)
    },
  })
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet)
    Element.prototype.remove.call(element)
  }
  return element
}
