import './landing.css'
import { baseOf } from './address.ts'

// The command line that is shown works from where the page was reached.
const base = document.querySelector('[data-base]')
if (base !== null) base.textContent = location.origin + baseOf(location.pathname)
