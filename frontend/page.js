/** The page at `/`: puts its parts together. */

import "./src/define-list.js"
import { Board } from "./page/board.js"
import { Composer } from "./page/composer.js"
import { get } from "./page/dom.js"
import { Pulse } from "./page/pulse.js"
import { sharedClient } from "./src/client.js"

const client = sharedClient()
const board = new Board(client, get("#jobs"))
const composer = new Composer(client, get("#composer"), (job) => board.add(job, { show: true }))

await new Pulse(client, { workersChanged: () => composer.load(), beat: () => board.refresh() }).start()
