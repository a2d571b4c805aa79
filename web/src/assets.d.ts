/** Files that scripts/build-web.mjs copies under a content hash; importing one gives its address. */
declare module '*.svg' {
  const address: string
  export default address
}
declare module '*.css'
