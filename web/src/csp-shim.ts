/**
 * Makes xterm.js 6.0.0 work under `style-src 'self'`, without 'unsafe-inline' and without a nonce (the page is static).
 * It writes three <style> elements (Viewport, DomRenderer: xtermjs/xterm.js#4445) and style attributes
 * (DomRendererRowFactory), which the policy refuses. The policy allows constructed style sheets and CSSOM, so this turns
 * both into those. Call it before the first Terminal is created.
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

/** An element in place of a <style>: its text becomes a constructed style sheet, which applies until it is removed. */
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
