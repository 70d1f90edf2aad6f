// better-sse as its guide shows it: a session per client, a channel per job, broadcasts fed from Redis.
import { createServer } from "node:http"
import { createChannel, createSession } from "better-sse"
import { createClient } from "redis"

const redis = createClient({ url: process.env.MILEPOST_REDIS_URL })
redis.on("error", error => {
  throw error
})
await redis.connect()

/** @type {Map<string, ReturnType<typeof createChannel>>} */
const channels = new Map()

await redis.pSubscribe("job:*", (message, name) => {
  const channel = channels.get(name)
  if (!channel) return
  const event = JSON.parse(message)
  channel.broadcast(event, event.type, { eventId: String(event.seq) })
})

const server = createServer(async (request, response) => {
  const name = `job:${request.url?.split("/").at(-1)}`
  const session = await createSession(request, response)
  let channel = channels.get(name)
  if (!channel) channels.set(name, (channel = createChannel()))
  channel.register(session)
})

server.listen({ port: Number(process.env.MILEPOST_PORT), host: "127.0.0.1", backlog: 4096 })
process.once("SIGTERM", () => process.exit(0))
