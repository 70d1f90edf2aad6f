-- How far the histories of jobs have come, all of one moment. ARGV: their ids.
local found = {}
for i, id in ipairs(ARGV) do
  local state = redis.call('HMGET', 'mp:{' .. id .. '}:state', 'epoch', 'seq', 'status')
  found[i] = state[1] and state or {}
end
return found
