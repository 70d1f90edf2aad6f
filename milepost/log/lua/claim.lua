-- A worker takes a delivery: attempt n begins, under a fence that no other attempt has, with a lease.
-- From here on arq's keys hold nothing of this attempt: our lease says who has the job, not arq's in-progress key, and
-- a running job does not stand in the queue where every worker would look at it again at every poll.
-- ARGV: id, delivery number, worker, lease in ms, history limit, empty progress, tasks that the worker knows (a line
-- each, '\n' around each), then the fields to return.
local function claimed()
  local wanted = {}
  for i = 8, #ARGV do wanted[#wanted + 1] = ARGV[i] end
  return redis.call('HMGET', STATE, unpack(wanted))
end
local status, delivery, fence, attempt, due, started = unpack(redis.call('HMGET', STATE, 'status', 'delivery', 'fence',
  'attempt', 'due', 'started_at'))
local task = redis.call('HGET', STATE, 'task')
if not status then return { 'gone' } end
if is_done(status) then return { 'done' } end
if delivery ~= ARGV[2] then return { 'stale' } end
local waited = math.max(0, NOW - tonumber(due)) -- ms from due to claimed, by one clock
if status == 'running' then
  -- The same worker asks again when the reply to its claim was lost; it has reported nothing yet.
  local worker, reports = unpack(redis.call('HMGET', STATE, 'worker', 'reports'))
  if worker ~= ARGV[3] or reports ~= '0' then return { 'leased' } end
  return { 'claimed', fence, attempt, claimed(), waited }
end
if tonumber(due) > NOW then return { 'early', string.format('%.0f', tonumber(due) - NOW) } end
if not string.find(ARGV[7], '\n' .. task .. '\n', 1, true) then return { 'unknown', '0', task } end
withdraw()
attempt = attempt + 1
-- Not just one more than the last: Redis may have come back without a claim that it had acknowledged, and the worker
-- of that one still runs. Its fence must not be given out again.
local token = string.format('%.0f', math.max(fence + 1, NOW))
local fields = { 'fence', token, 'reports', 0, 'worker', ARGV[3], 'progress', ARGV[6], 'heartbeat_at', AT }
if not started then
  fields[#fields + 1] = 'started_at'
  fields[#fields + 1] = '@at'
end
append_status({ status = 'running', attempt = attempt, worker = ARGV[3] }, fields, ARGV[5])
redis.call('ZADD', LEASES, string.format('%.0f', NOW + tonumber(ARGV[4])), ID)
return { 'claimed', token, tostring(attempt), claimed(), waited }
