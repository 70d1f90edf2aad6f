-- Forget a job that has ended, with its history and its result. A job that is not there is forgotten already.
-- ARGV: id, created_at as its record has it, how long to remember that in ms.
local status, epoch, seq, tenant, created_at = unpack(redis.call('HMGET', STATE, 'status', 'epoch', 'seq', 'tenant',
  'created_at'))
-- Said late, or once more by a client that has lost the answer: the id has been given to another job since, which stays.
-- Another moment and not a later one: the clocks of two APIs may disagree.
if created_at and ARGV[2] ~= '' and created_at ~= ARGV[2] then status = false end
if status and not is_done(status) then return 'living' end
-- Who read its record before that went may still want to bring it here (see create.lua). The moment tells it from a later
-- job that was given the same id, and that may have been forgotten before this is said again.
local note = 'mp:{' .. ID .. '}:forgotten'
if status or (redis.call('GET', note) or '') < ARGV[2] then redis.call('SET', note, ARGV[2], 'PX', ARGV[3]) end
if not status then return 'gone' end
redis.call('UNLINK', STATE, EVENTS, KEYS[3]) -- a long history is freed besides
-- A reader that has missed the end would look for it in vain: whoever hears this looks at once.
redis.call('PUBLISH', 'mp:{' .. ID .. '}:live', epoch .. '-' .. (seq + 1) .. ' forgotten')
redis.call('PUBLISH', 'mp:jobs', '{"what":"forgotten","id":"' .. ID .. '","tenant":' .. text(tenant) .. '}')
return 'forgotten'
