-- Cancel: at once while nobody runs the job; otherwise its worker is asked. ARGV: id, history limit, retention in ms, error,
-- whose job it must be ('': anybody's), whose it is if it does not say, a token of this call.
local status, attempt, requested, worker, tenant, by = unpack(redis.call('HMGET', STATE, 'status', 'attempt',
  'cancel_requested', 'worker', 'tenant', 'cancelled_by'))
if not status or (ARGV[5] ~= '' and ARGV[5] ~= (tenant or ARGV[6])) then return 'gone' end
-- Asked again because the answer was lost: the same answer.
if is_done(status) then return by == ARGV[7] and 'cancelled' or 'already_done' end
if status ~= 'running' then
  redis.call('HSET', STATE, 'cancelled_by', ARGV[7])
  withdraw()
  finish_without_result('cancelled', ARGV[4], ARGV[2], tonumber(ARGV[3]))
  return 'cancelled'
end
if requested ~= '1' then
  append_status({ status = 'running', attempt = attempt, cancel_requested = true, worker = worker },
    { 'cancel_requested', '1' }, ARGV[2])
end
redis.call('PUBLISH', 'mp:control:' .. worker, 'cancel ' .. ID)
return 'requested'
