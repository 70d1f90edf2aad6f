-- A worker takes deliveries of one queue that are due by Redis's clock, as many as it has free slots, in one round trip
-- (arq's own pick-up needs four for each). arq's in-progress key covers the moment between this and the claim: it holds
-- the worker, who may ask again when the answer was lost. KEYS: the queue. ARGV: worker, slots, cover in ms,
-- then the deliveries that the worker has under way.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, slots = ARGV[1], tonumber(ARGV[2])
local taken, from, page = {}, 0, 100
local under_way = {}
for i = 4, #ARGV do under_way[ARGV[i]] = true end
-- What was delayed has come due with a score that is its moment: from now on it waits in line with the others of its
-- priority, as if it had been submitted then (see `deliver` in common.lua).
local late = redis.call('ZRANGEBYSCORE', KEYS[1], now - 500000000, now, 'WITHSCORES', 'LIMIT', 0, page)
for i = 1, #late, 2 do
  local id = string.match(late[i], '^(.*)%.%d+$') or late[i]
  local priority = tonumber(redis.call('HGET', 'mp:{' .. id .. '}:state', 'priority') or 0)
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', late[i + 1] - (11 + priority) * 1000000000), late[i])
end
repeat
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', from, page)
  for _, delivery in ipairs(due) do
    if #taken >= slots then break end
    local cover = 'arq:in-progress:' .. delivery
    local holder = redis.call('GET', cover)
    if not holder or holder == worker and not under_way[delivery] then
      redis.call('SET', cover, worker, 'PX', ARGV[3])
      taken[#taken + 1] = delivery
    end
  end
  from = from + page
until #taken >= slots or #due < page or from >= 10000
local soon = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { soon[2] and math.max(0, math.ceil(tonumber(soon[2]) - now)) or -1, taken }
