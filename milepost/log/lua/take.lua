-- A worker takes deliveries of one queue that are due by Redis's clock, as many as it has free slots, in one round trip
-- (arq's own pick-up needs four for each). arq's in-progress key covers the moment between this and the claim: it holds
-- the worker, who may ask again when the answer was lost. What is of a task that is at its limit in this worker is passed
-- over and keeps its place. KEYS: the queue. ARGV: worker, slots, cover in ms, from which rank and how far to look beyond
-- the front, how many tasks have a limit, each of them with its room, then the deliveries that the worker has under way.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, slots = ARGV[1], tonumber(ARGV[2])
local from, depth, limited = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local taken, tasks, passed, page = {}, {}, 0, 100
local room, under_way = {}, {}
for i = 7, 5 + 2 * limited, 2 do room[ARGV[i]] = tonumber(ARGV[i + 1]) end
for i = 7 + 2 * limited, #ARGV do under_way[ARGV[i]] = true end
-- What was delayed has come due with a score that is its moment: from now on it waits in line with the others of its
-- priority, as if it had been submitted then (see `deliver` in common.lua).
local late = redis.call('ZRANGEBYSCORE', KEYS[1], now - 500000000, now, 'WITHSCORES', 'LIMIT', 0, page)
for i = 1, #late, 2 do
  local id = string.match(late[i], '^(.*)%.%d+$') or late[i]
  local priority = tonumber(redis.call('HGET', 'mp:{' .. id .. '}:state', 'priority') or 0)
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', late[i + 1] - (11 + priority) * 1000000000), late[i])
end
local function task_of(delivery)
  if limited == 0 then return '' end -- most workers: nobody needs to know
  return redis.call('HGET', 'mp:{' .. (string.match(delivery, '^(.*)%.%d+$') or delivery) .. '}:state', 'task') or ''
end
local function look(rank, to) -- returns the rank to go on from, -1 at the end of what is due
  repeat
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', rank, page)
    for _, delivery in ipairs(due) do
      if #taken >= slots then return rank end
      local cover = 'arq:in-progress:' .. delivery
      local holder = redis.call('GET', cover)
      if not holder or holder == worker and not under_way[delivery] then
        local task = task_of(delivery)
        local left = room[task]
        if left and left <= 0 then
          passed = passed + 1
        else
          redis.call('SET', cover, worker, 'PX', ARGV[3])
          taken[#taken + 1], tasks[#tasks + 1] = delivery, task
          if left then room[task] = left - 1 end
        end
      end
      rank = rank + 1
    end
    if #due < page then return -1 end
  until rank >= to
  return rank
end
local rank = look(0, page)
if rank >= 0 then
  from = math.max(from, page)
  rank = #taken < slots and depth > 0 and look(from, from + depth) or from
end
local soon = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { soon[2] and math.max(0, math.ceil(tonumber(soon[2]) - now)) or -1, taken, tasks, rank, passed }
