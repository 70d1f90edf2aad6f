-- A heartbeat for one attempt. ARGV: id, fence, lease in ms, history limit.
local status, fence, cancel, stalled, attempt = unpack(redis.call('HMGET', STATE, 'status', 'fence', 'cancel_requested',
  'stalled', 'attempt'))
if not status then return 'gone' end
if fence ~= ARGV[2] or status ~= 'running' then return 'refused' end
redis.call('ZADD', LEASES, string.format('%.0f', NOW + tonumber(ARGV[3])), ID)
redis.call('HSET', STATE, 'heartbeat_at', AT)
if stalled == '1' then
  append('stalled', '"attempt":' .. attempt .. ',"heartbeat_at":"' .. AT .. '","recovered":true', { 'stalled', '' }, ARGV[4])
end
return cancel == '1' and 'cancel' or 'ok'
