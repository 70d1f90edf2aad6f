-- How many-th a job is in its queue, from 1; false unless it waits there. What is not due yet waits elsewhere, though arq
-- keeps it in the same set: behind all that is due.
local function position(id, now)
  local status, queue, number, due = unpack(redis.call('HMGET', 'mp:{' .. id .. '}:state', 'status', 'queue', 'delivery',
    'due'))
  local late = (status == 'scheduled' or status == 'retrying') and tonumber(due) <= now
  if status ~= 'queued' and not late then return false end
  local rank = redis.call('ZRANK', 'mp:queue:' .. queue, id .. '.' .. number)
  return rank and rank + 1
end
