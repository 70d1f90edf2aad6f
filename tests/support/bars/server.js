/** What a server renders of the same page: no document, no stream. */

import { createElement } from "react"
import { renderToString } from "react-dom/server"
import { Bar } from "./bar.js"

process.stdout.write(renderToString(createElement(Bar, { id: "a" })))
