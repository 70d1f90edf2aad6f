/** The page at `/`. */

import "./src/define.js"
import { App } from "./page/app.js"

await new App().start()
