import './landing.css'
import { baseOf } from './address.ts'

// The command on the page works as it is: it has the address at which this browser reached the server.
const base = document.querySelector('[data-base]')
if (base !== null) base.textContent = location.origin + baseOf(location.pathname)
