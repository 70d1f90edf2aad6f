-- Cancel: at once while nobody runs the job; otherwise its worker is asked. ARGV: id, history limit, retention in ms, error,
-- whose job it must be ('': anybody's), whose it is if it does not say.
local status, attempt, requested, worker, tenant = unpack(redis.call('HMGET', STATE, 'status', 'attempt',
  'cancel_requested', 'worker', 'tenant'))
if not status or (ARGV[5] ~= '' and ARGV[5] ~= (tenant or ARGV[6])) then return 'gone' end
if is_done(status) then return 'already_done' end
if status ~= 'running' then
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
