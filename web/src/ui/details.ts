import type { SeenStage } from '../stages.ts'
import { byId } from './dom.ts'
import { type StageList, stageList } from './stage-list.ts'

/**
 * The stages once there is output: in the popover of the status in the header, and in a corner of the terminal while the
 * session is still starting.
 */
export class Details {
  #key = ''
  #lists: StageList[] = []

  show(stages: readonly SeenStage[], isPreparing: boolean, now: () => number): void {
    byId('progress').hidden = !isPreparing
    const key = JSON.stringify(stages)
    if (key !== this.#key) {
      this.#key = key
      this.#lists = ['details-stages', 'progress'].map((id) => {
        const list = stageList(stages, now)
        byId(id).replaceChildren(list.element)
        return list
      })
    }
    for (const { tick } of this.#lists) tick()
  }
}
