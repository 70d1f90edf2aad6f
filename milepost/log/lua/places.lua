-- Where jobs stand that somebody watches, all of one moment. ARGV: their ids.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = {}
for i, id in ipairs(ARGV) do
  local epoch, seq, status, task, queue = unpack(redis.call('HMGET', 'mp:{' .. id .. '}:state', 'epoch', 'seq', 'status',
    'task', 'queue'))
  found[i] = epoch and { epoch, seq, status, task, queue, position(id, now) } or {}
end
return found
