-- A heartbeat for the attempts of one answer of take.lua that its worker has not begun yet: it may not have read the
-- answer, because a task blocks its event loop. ARGV: worker, number of the request, lease in ms.
local last, ids = string.match(redis.call('GET', 'mp:taken:' .. ARGV[1]) or '', '^(%d+) (.*)$')
if last ~= ARGV[2] then return 0 end
local covered = 0
for id in string.gmatch(ids, '%S+') do
  local state = 'mp:{' .. id .. '}:state'
  local status, worker, reports = unpack(redis.call('HMGET', state, 'status', 'worker', 'reports'))
  if status == 'running' and worker == ARGV[1] and reports == '0' then
    redis.call('ZADD', LEASES, string.format('%.0f', NOW + tonumber(ARGV[3])), id)
    redis.call('HSET', state, 'heartbeat_at', AT)
    covered = covered + 1
  end
end
return covered
