// Follow a stream with npm's EventSource and print what arrived, a JSON array of [type, lastEventId, data].
// Usage: node read_stream.mjs URL MODULES, where MODULES holds the package eventsource.
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"

const [url, modules] = process.argv.slice(2)
const found = createRequire(`${modules}/`).resolve("eventsource")
const { EventSource } = await import(pathToFileURL(found).href)

const seen = []
const source = new EventSource(url)
for (const type of ["snapshot", "status", "progress", "log", "output", "stalled", "end", "gap", "reconnect"]) {
  source.addEventListener(type, (event) => {
    seen.push([event.type, event.lastEventId, event.data])
    if (type === "end") {
      source.close()
      process.stdout.write(JSON.stringify(seen))
    }
  })
}
