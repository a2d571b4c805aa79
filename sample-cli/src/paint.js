/** Colours: where a terminal shows the output, and not against the user's wish (https://no-color.org). */
const wanted = process.env.FORCE_COLOR
  ? process.env.FORCE_COLOR !== '0'
  : process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

const paint = (open, close) => (text) => (wanted ? `\u001b[${open}m${text}\u001b[${close}m` : String(text))

export const bold = paint(1, 22)
export const dim = paint(2, 22)
export const red = paint(31, 39)
export const green = paint(32, 39)
export const yellow = paint(33, 39)
export const cyan = paint(36, 39)

/** One of the 256 colours, for a gradient. */
export const shade = (colour, text) => paint(`38;5;${colour}`, 39)(text)
