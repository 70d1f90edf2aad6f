-- A worker takes a delivery: attempt n begins, under a fence that no other attempt has, with a lease.
-- ARGV: id, delivery number, worker, lease in ms, history limit, empty progress, then the fields to return.
local status, delivery, fence, attempt, due, started = unpack(redis.call('HMGET', STATE, 'status', 'delivery', 'fence',
  'attempt', 'due', 'started_at'))
if not status then return { 'gone' } end
if is_done(status) then return { 'done' } end
if delivery ~= ARGV[2] then return { 'stale' } end
if status == 'running' then return { 'leased' } end
if tonumber(due) > NOW then return { 'early', string.format('%.0f', tonumber(due) - NOW) } end
attempt = attempt + 1
local fields = { 'fence', fence + 1, 'reports', 0, 'worker', ARGV[3], 'progress', ARGV[6], 'heartbeat_at', AT }
if not started then
  fields[#fields + 1] = 'started_at'
  fields[#fields + 1] = '@at'
end
append_status({ status = 'running', attempt = attempt, worker = ARGV[3] }, fields, ARGV[5])
redis.call('ZADD', LEASES, string.format('%.0f', NOW + tonumber(ARGV[4])), ID)
local wanted = {}
for i = 7, #ARGV do wanted[#wanted + 1] = ARGV[i] end
return { 'claimed', tostring(fence + 1), tostring(attempt), redis.call('HMGET', STATE, unpack(wanted)) }
