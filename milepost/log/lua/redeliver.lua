-- Give a waiting job a new delivery if arq has lost its own. ARGV: id, delay in ms, 1 to do so even if arq has it.
local status, number, queue, due = unpack(redis.call('HMGET', STATE, 'status', 'delivery', 'queue', 'due'))
if not status then return 'gone' end
if is_done(status) or status == 'running' then return 'not_waiting' end
local delivery = ID .. '.' .. number
if ARGV[3] ~= '1' and redis.call('EXISTS', 'arq:job:' .. delivery) == 1
  and redis.call('ZSCORE', 'mp:queue:' .. queue, delivery) then
  return 'there'
end
withdraw()
deliver(math.max(tonumber(due), NOW + tonumber(ARGV[2])))
return 'delivered'
