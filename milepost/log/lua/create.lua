-- Begin the history of an accepted job and hand it to arq. Idempotent: a job that is there stays as it is.
-- ARGV: id, epoch, delay in ms, due in ms since 1970 (0: by the delay), history limit, retention in ms, attempts used up,
-- what became of the last one (an error as JSON, or ''), then state fields.
-- The last two are of jobs that Redis has lost: what was begun goes on with its next attempt, or ends when there is none,
-- or when it was asked to stop (among the fields: cancel_requested; the error is that of a cancel then).
local given = {}
for i = 9, #ARGV, 2 do given[ARGV[i]] = ARGV[i + 1] end
local created_at = given.created_at

local function announce(what) -- to those who follow a tag, a batch, or all jobs of a tenant (see announcements.py)
  redis.call('PUBLISH', 'mp:jobs', '{"what":"' .. what .. '","id":"' .. ID .. '","tenant":"' .. given.tenant .. '","batch":'
    .. text(given.batch_id) .. ',"tags":' .. given.tags .. '}')
end

if redis.call('EXISTS', STATE) == 1 then
  local status, before, epoch, seq = unpack(redis.call('HMGET', STATE, 'status', 'created_at', 'epoch', 'seq'))
  if not (before and before < created_at and is_done(status)) then return { 'exists', seq } end
  -- Its record was deleted, and who did that died before it was forgotten here; the id has been given again.
  redis.call('UNLINK', STATE, EVENTS, KEYS[3])
  redis.call('PUBLISH', 'mp:{' .. ID .. '}:live', epoch .. '-' .. (seq + 1) .. ' forgotten')
  announce('forgotten')
end
if redis.call('GET', 'mp:{' .. ID .. '}:forgotten') == created_at then
  return { 'forgotten' } -- whoever brings it has read its record before that was deleted (see forget.lua)
end
local history_limit, attempt, error = ARGV[5], tonumber(ARGV[7]), ARGV[8]
local due = tonumber(ARGV[4])
if due == 0 then due = NOW + tonumber(ARGV[3]) end
due = math.max(due, NOW)
local later = due > NOW
local fields = { 'id', ID, 'epoch', ARGV[2], 'generation', GENERATION, 'fence', 0, 'reports', 0, 'delivery', 0,
  'attempt', attempt }
for i = 9, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', STATE, unpack(fields))
redis.call('UNLINK', EVENTS) -- its state was lost, or evicted, alone: what is left is another history
local cancel = given.cancel_requested == '1'
if cancel or error ~= '' and attempt >= tonumber(redis.call('HGET', STATE, 'max_attempts')) then
  finish_without_result(cancel and 'cancelled' or 'failed', error, history_limit, tonumber(ARGV[6]))
  announce('created')
  return { 'created', '1' }
end
local change = { status = later and 'scheduled' or 'queued', attempt = attempt, run_at = later and rfc3339(due) or nil }
if error ~= '' then change = { status = 'retrying', attempt = attempt, run_at = rfc3339(due), error = error } end
append_status(change, {}, history_limit)
deliver(due)
announce('created')
return { 'created', '1', position(ID, NOW) }
