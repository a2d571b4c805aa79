import type { SessionEvent, Stage, StatusMessage } from '@cliscale/contract'
import { shownCommand } from './shown-command.ts'
import type { HostState } from './host-state.ts'
import { exitMessage, type EndedEvent } from './outcome.ts'
import type { SessionTerminal } from './terminal-types.ts'

/** What happened when: kept on disk, shown to viewers, and reported. */
export class Timeline {
  private readonly state: HostState
  private readonly terminal: SessionTerminal
  private readonly changed: () => void
  private readonly command: Pick<StatusMessage, 'command'>
  private shown: Pick<StatusMessage, 'status' | 'stage' | 'since'> | undefined
  private isStopping = false

  /** @param command undefined in a life that began after `started`: the order is deleted by then, but not what is shown. */
  constructor(state: HostState, terminal: SessionTerminal, changed: () => void, command: string | undefined) {
    this.state = state
    this.terminal = terminal
    this.changed = changed
    if (command !== undefined) state.keepShownCommand(shownCommand(command))
    this.command = state.shownCommand === undefined ? {} : { command: state.shownCommand }
  }

  /** When the command began, if it did. */
  get runningAt(): string | undefined {
    return this.state.events.find((event) => event.type === 'running')?.at
  }

  get ended(): EndedEvent | undefined {
    return this.state.events.find((event) => event.type === 'ended')
  }

  /** Whether a stage began, in this or an earlier life. */
  has(stage: Stage): boolean {
    return this.state.events.some((event) => event.type === 'stage' && event.name === stage)
  }

  starting(): void {
    this.show({ status: 'starting', stage: null, since: new Date().toISOString() })
  }

  stage(name: Exclude<Stage, 'running'>, told = new Date().toISOString()): void {
    const at = notLater(told)
    this.add({ type: 'stage', name, at })
    this.show({ status: 'starting', stage: name, since: at })
  }

  running(told: string): void {
    const at = notLater(told)
    this.add({ type: 'running', at })
    this.show({ status: 'running', stage: 'running', since: this.runningAt ?? at })
  }

  /** The session is told to end. */
  stopping(): void {
    this.isStopping = true
    if (this.shown !== undefined && this.ended === undefined) this.show(this.shown)
  }

  /** The end; only the first one counts, also when an earlier life of the host wrote it. */
  end(ended: EndedEvent): void {
    this.add(ended)
    if (this.terminal.ended === undefined) this.terminal.end(exitMessage(this.ended!, this.runningAt))
    this.changed()
  }

  private add(event: SessionEvent): void {
    if (this.state.addEvent(event)) this.changed()
  }

  private show(status: Pick<StatusMessage, 'status' | 'stage' | 'since'>): void {
    this.shown = status
    const stopping = this.isStopping ? { stopping: true as const } : {}
    this.terminal.setStatus({ ...status, reason: null, hint: null, ...this.command, ...stopping })
  }
}

/** work's word, but never in the future: a timeout counts from it, and the command may have work in its hands. */
function notLater(told: string): string {
  return new Date(Math.min(Date.parse(told), Date.now())).toISOString()
}
