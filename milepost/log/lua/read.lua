-- Snapshot and history after a cursor, of one moment. ARGV: id, epoch or '', seq, most entries, then state fields.
local state = redis.call('HMGET', STATE, unpack(ARGV, 5))
local epoch, seq = unpack(redis.call('HMGET', STATE, 'epoch', 'seq'))
if not epoch then return {} end
local first = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)
local oldest = first[1] and string.match(first[1][1], '^%d+') or tostring(seq + 1) -- a stream that is gone holds nothing
local entries = {}
local after = tonumber(ARGV[3])
if ARGV[2] == epoch and after < tonumber(seq) and tonumber(oldest) <= after + 1 then
  entries = redis.call('XRANGE', EVENTS, string.format('%.0f-0', after + 1), '+', 'COUNT', ARGV[4])
end
return { epoch, seq, oldest, AT, state, entries }
