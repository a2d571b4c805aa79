/**
 * The number that marks all processes of a session on Linux: their limit of file locks (RLIMIT_LOCKS), which the kernel
 * has not looked at since 2.4.25. Children inherit it whatever else they shed (environment, session, terminal, parents),
 * and everybody may read it in `/proc/<pid>/limits`. Without privileges it can be lowered, never raised.
 */
export function sessionTag(sessionId: string): string {
  // The last 60 bits of a UUID are random, and any limit holds 63.
  return BigInt(`0x${sessionId.replaceAll('-', '').slice(-15)}`).toString()
}

/** Whether the text of a `/proc/<pid>/limits` shows the tag. */
export function carriesTag(limits: string, tag: string): boolean {
  const [, soft, hard] = /^Max file locks\s+(\S+)\s+(\S+)/m.exec(limits) ?? []
  return soft === tag || hard === tag
}
