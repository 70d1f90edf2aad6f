-- A worker takes deliveries of one queue that are due by Redis's clock, as many as it has free slots, in one round trip
-- (arq's own pick-up needs four for each). arq's in-progress key covers the moment between this and the claim: it holds
-- the worker, who may ask again when the answer was lost. KEYS: the queue. ARGV: worker, slots, cover in ms.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, slots = ARGV[1], tonumber(ARGV[2])
local taken, from, page = {}, 0, 100
repeat
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', from, page)
  for _, delivery in ipairs(due) do
    if #taken >= slots then break end
    local cover = 'arq:in-progress:' .. delivery
    local holder = redis.call('GET', cover)
    if not holder or holder == worker then
      redis.call('SET', cover, worker, 'PX', ARGV[3])
      taken[#taken + 1] = delivery
    end
  end
  from = from + page
until #taken >= slots or #due < page or from >= 10000
local soon = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { soon[2] and math.max(0, math.ceil(tonumber(soon[2]) - now)) or -1, taken }
