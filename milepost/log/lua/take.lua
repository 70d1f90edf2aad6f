-- A worker takes what is due and begins the attempts, all in one step: no moment in which a delivery is nobody's, and
-- one round trip for all its free slots (arq's own pick-up needs four for each). From here on arq's keys hold nothing of
-- these jobs: our lease says who has a job, and what runs does not stand in a queue where every worker would look at it.
-- KEYS: the queues, the first has priority. ARGV: worker, number of the request, free slots, lease in ms, history limit,
-- empty progress, room by task as JSON (attempts that may begin now, -1: any number; tasks that the worker does not know
-- are not in it), for each queue from which rank and how far to look beyond its front, then the state fields to return.
local WORKER, NUMBER, SLOTS = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local LEASE, HISTORY, EMPTY, ROOM = tonumber(ARGV[4]), ARGV[5], ARGV[6], cjson.decode(ARGV[7])
local MEMORY, MEMORY_MS = 'mp:taken:' .. WORKER, 600000
local FRONT, PAGE = 100, 100
-- Between what waits in line, at least 1,000,000,000 below its moment (see `deliver`), and what was delayed and has come due.
-- The rest is for clocks that were set back; what has been due for longer is lined up by redeliver.lua.
local LATE_MS = 990000000
local wanted = { 'fence', 'attempt' }
for i = 8 + 2 * #KEYS, #ARGV do wanted[#wanted + 1] = ARGV[i] end
wanted[#wanted + 1] = 'due'

local function turn_to(id)
  ID, STATE, EVENTS = id, 'mp:{' .. id .. '}:state', 'mp:{' .. id .. '}:events'
end

local taken, ids = {}, {}
local function give()
  local values = redis.call('HMGET', STATE, unpack(wanted))
  local waited = math.max(0, NOW - tonumber(table.remove(values))) -- ms, by one clock
  taken[#taken + 1] = { ID, values, waited }
  ids[#ids + 1] = ID
end

-- Asked again because the answer was lost: the same answer. Attempts that have reported something were heard of.
local last, before = string.match(redis.call('GET', MEMORY) or '', '^(%d+) (.*)$')
if last and NUMBER <= tonumber(last) then
  for id in string.gmatch(NUMBER == tonumber(last) and before or '', '%S+') do
    turn_to(id)
    local status, worker, reports = unpack(redis.call('HMGET', STATE, 'status', 'worker', 'reports'))
    if status == 'running' and worker == WORKER and reports == '0' then give() end
  end
  return { 0, taken, {} }
end

local function begin(queue, delivery, fence, attempt, started)
  redis.call('ZREM', queue, delivery)
  redis.call('DEL', 'arq:job:' .. delivery)
  -- Not just one more than the last: Redis may have come back without a claim that it had acknowledged, and the worker
  -- of that one still runs. Its fence must not be given out again.
  local fields = { 'fence', string.format('%.0f', math.max(fence + 1, NOW)), 'reports', 0, 'worker', WORKER,
    'progress', EMPTY, 'heartbeat_at', AT }
  if not started then
    fields[#fields + 1] = 'started_at'
    fields[#fields + 1] = '@at'
  end
  append_status({ status = 'running', attempt = attempt + 1, worker = WORKER }, fields, HISTORY)
  redis.call('ZADD', LEASES, string.format('%.0f', NOW + LEASE), ID)
  give()
end

-- Says whether the delivery has left its place in line.
local function consider(queue, delivery)
  local id, number = string.match(delivery, '^(.*)%.(%d+)$')
  if not id then return false end -- not one of ours
  turn_to(id)
  local status, current, due, task, fence, attempt, started = unpack(redis.call('HMGET', STATE, 'status', 'delivery',
    'due', 'task', 'fence', 'attempt', 'started_at'))
  if number ~= current or status == 'running' or is_done(status) then
    redis.call('ZREM', queue, delivery) -- left over: another delivery counts, or the job is over or forgotten
    redis.call('DEL', 'arq:job:' .. delivery)
    return true
  end
  if tonumber(due) > NOW then
    redis.call('ZADD', queue, due, delivery)
    return true
  end
  local room = ROOM[task]
  if not room or room == 0 then return false end
  if room > 0 then ROOM[task] = room - 1 end
  begin(queue, delivery, fence, attempt, started)
  return true
end

-- What was delayed has come due with a score that is its moment: from now on it waits in line with the others of its
-- priority, as if it had been submitted then (see `deliver` in common.lua).
local function line_up(queue)
  local late = redis.call('ZRANGEBYSCORE', queue, NOW - LATE_MS, NOW, 'WITHSCORES', 'LIMIT', 0, 100)
  for i = 1, #late, 2 do
    local id = string.match(late[i], '^(.*)%.%d+$') or late[i]
    local priority = tonumber(redis.call('HGET', 'mp:{' .. id .. '}:state', 'priority') or 0)
    redis.call('ZADD', queue, string.format('%.0f', late[i + 1] - (11 + priority) * 1000000000), late[i])
  end
end

-- Returns the rank to go on from, -1 at the end of what is due, and how many were passed over: they keep their places.
local function look(queue, from, to, page)
  local rank = from
  repeat
    local due = redis.call('ZRANGEBYSCORE', queue, '-inf', NOW, 'LIMIT', rank, page)
    for _, delivery in ipairs(due) do
      if #taken == SLOTS then return rank, rank - from end
      if not consider(queue, delivery) then rank = rank + 1 end
    end
    if #due < page then return -1, rank - from end
    page = PAGE
  until rank >= to
  return rank, rank - from
end

-- Jobs that this worker cannot run now must not hide the others from it, however many they are; nor may it go through
-- all of them at every look.
local function look_through(queue, from, depth)
  local rank, passed = look(queue, 0, FRONT, math.min(PAGE, SLOTS + 1))
  if rank < 0 then return rank, passed end
  rank = math.max(from, FRONT)
  if #taken == SLOTS or depth == 0 then return rank, passed end
  local deeper
  rank, deeper = look(queue, rank, rank + depth, PAGE)
  return rank, passed + deeper
end

local soon, looked = -1, {}
for i, queue in ipairs(KEYS) do
  line_up(queue)
  looked[i] = { look_through(queue, tonumber(ARGV[6 + 2 * i]), tonumber(ARGV[7 + 2 * i])) }
  local next = redis.call('ZRANGEBYSCORE', queue, '(' .. NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if next[2] then
    local wait = math.max(0, math.ceil(tonumber(next[2]) - NOW))
    if soon < 0 or wait < soon then soon = wait end
  end
end
if #ids > 0 then redis.call('SET', MEMORY, NUMBER .. ' ' .. table.concat(ids, ' '), 'PX', MEMORY_MS) end
return { soon, taken, looked }
