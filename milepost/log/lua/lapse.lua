-- The caretaker looks at a lease that is old. ARGV: id, lease in ms, silence in ms after which readers are told,
-- history limit, retention in ms, error of a lost worker (JSON, retryable), the same (final), error of a cancel.
local expires = redis.call('ZSCORE', LEASES, ID)
local status, attempt, max_attempts, cancel, stalled, heartbeat = unpack(redis.call('HMGET', STATE, 'status', 'attempt',
  'max_attempts', 'cancel_requested', 'stalled', 'heartbeat_at'))
if not expires then return 'unleased' end
if status ~= 'running' then
  redis.call('ZREM', LEASES, ID) -- the state went away (retention, a flush) and its lease did not
  return 'unleased'
end
local lease, silence, history_limit, retention = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
expires = tonumber(expires)
-- While Redis was away nobody could renew a lease; each worker has a whole one to be heard again before any is lost. A
-- moment that is still to come was written by a clock that has been set back since.
local back = tonumber(redis.call('GET', 'mp:generation:since') or 0)
if back <= NOW and NOW < back + lease then return 'early' end
if expires > NOW then
  if stalled ~= '1' and NOW - (expires - lease) >= silence then
    append('stalled', '"attempt":' .. attempt .. ',"heartbeat_at":' .. text(heartbeat) .. ',"recovered":false',
      { 'stalled', '1' }, history_limit)
    return 'stalled'
  end
  return 'alive'
end
if stalled ~= '1' then
  append('stalled', '"attempt":' .. attempt .. ',"heartbeat_at":' .. text(heartbeat) .. ',"recovered":false',
    { 'stalled', '1' }, history_limit)
end
redis.call('ZREM', LEASES, ID)
if cancel == '1' then
  finish_without_result('cancelled', ARGV[8], history_limit, retention)
  return 'cancelled'
end
if tonumber(attempt) < tonumber(max_attempts) then
  append_status({ status = 'retrying', attempt = attempt, run_at = AT, error = of_attempt(ARGV[6], attempt) }, {}, history_limit)
  deliver(NOW)
  return 'retrying'
end
finish_without_result('failed', ARGV[7], history_limit, retention)
return 'failed'
