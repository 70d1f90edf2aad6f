-- Begin the history of an accepted job and hand it to arq. Idempotent: a job that is there stays as it is.
-- ARGV: id, epoch, delay in ms, due in ms since 1970 (0: by the delay), history limit, then state fields.
if redis.call('EXISTS', STATE) == 1 then
  return { 'exists', redis.call('HGET', STATE, 'seq') }
end
for i = 6, #ARGV do -- whoever brings it has read its record before that was deleted (see forget.lua)
  if ARGV[i] == 'created_at' and redis.call('GET', 'mp:{' .. ID .. '}:forgotten') == ARGV[i + 1] then
    return { 'forgotten' }
  end
end
local history_limit = ARGV[5]
local due = tonumber(ARGV[4])
if due == 0 then due = NOW + tonumber(ARGV[3]) end
due = math.max(due, NOW)
local later = due > NOW
local fields = { 'id', ID, 'epoch', ARGV[2], 'generation', GENERATION, 'fence', 0, 'reports', 0 }
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', STATE, unpack(fields))
append_status({ status = later and 'scheduled' or 'queued', attempt = 0, run_at = later and rfc3339(due) or nil }, {},
  history_limit)
deliver(due)
return { 'created', '1', position(ID, NOW) }
