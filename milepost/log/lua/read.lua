-- Snapshot and history after a cursor, of one moment.
-- ARGV: id, epoch or '', seq, most entries, most bytes of them (the entry that reaches it is the last), state fields
-- separated by spaces: to send two dozen arguments takes a client longer than all of this takes Redis.
local fields = {}
for field in string.gmatch(ARGV[6], '%S+') do fields[#fields + 1] = field end
local state = redis.call('HMGET', STATE, unpack(fields))
local epoch, seq, branches = unpack(redis.call('HMGET', STATE, 'epoch', 'seq', 'branches'))
if not epoch then return {} end
local first = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)
local oldest = first[1] and string.match(first[1][1], '^%d+') or tostring(seq + 1) -- a stream that is gone holds nothing
local entries = {}
local after, most, room = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local known = ARGV[2] == epoch -- or of an epoch from which this history branched, not before that place
for before, at in string.gmatch(branches or '', '(%w+)-(%d+)') do
  known = known or (ARGV[2] == before and after <= tonumber(at))
end
if known and after < tonumber(seq) and tonumber(oldest) <= after + 1 then
  local step = 32 -- few at a time: each may be megabytes long
  repeat
    local page = redis.call('XRANGE', EVENTS, string.format('%.0f-0', after + 1), '+', 'COUNT', math.min(step, most))
    for _, entry in ipairs(page) do
      entries[#entries + 1] = entry
      room, most = room - #entry[2][4], most - 1
      if room <= 0 then break end
    end
    after = after + #page
  until room <= 0 or most <= 0 or #page < step
end
return { epoch, seq, oldest, AT, state, entries, known and 1 or 0, position(ID, NOW) }
