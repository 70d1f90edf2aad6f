/** The page: one bar for each transcript. */

import "../../frontend/src/define-list.js"
import { Player } from "./player.js"
import { STATES, TRANSCRIPTS } from "./states.js"

const player = new Player(TRANSCRIPTS)
const given = new URLSearchParams(location.search)
document.documentElement.dir = given.get("dir") ?? "ltr"

for (const [id, title, , { retry = false } = {}] of STATES) {
  const item = document.createElement("li")
  const heading = document.createElement("h2")
  const bar = document.createElement("milepost-progress")
  heading.textContent = title
  bar.id = id
  bar.client = player
  bar.setAttribute("job", id)
  bar.setAttribute("cancel", "")
  bar.toggleAttribute("retry", retry)
  item.append(heading, bar)
  document.querySelector("#states").append(item)
}
for (const list of document.querySelectorAll("milepost-job-list")) list.client = player
