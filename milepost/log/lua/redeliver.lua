-- Give a waiting job a new delivery if its own was lost (Redis evicted it, somebody deleted a queue). ARGV: id.
local status, number, queue, due = unpack(redis.call('HMGET', STATE, 'status', 'delivery', 'queue', 'due'))
if not status then return 'gone' end
if is_done(status) or status == 'running' then return 'not_waiting' end
local delivery = ID .. '.' .. number
if redis.call('EXISTS', 'arq:job:' .. delivery) == 1 and redis.call('ZSCORE', 'mp:queue:' .. queue, delivery) then
  return 'there'
end
withdraw()
deliver(tonumber(due))
return 'delivered'
