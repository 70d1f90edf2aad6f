-- The end of a job stands elsewhere, and here it lives: Redis came back without what it had acknowledged last. Readers
-- have seen that end, so it stays the only one. Whoever runs the job again is refused from here on.
-- ARGV: id, history limit, retention in ms, large result or '', body, fields…
local status = redis.call('HGET', STATE, 'status')
if not status then return 'gone' end
if is_done(status) then return 'done' end
withdraw()
branch() -- what follows is not what readers know
if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3]) end
local fields = {}
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
finish(ARGV[5], fields, ARGV[2], tonumber(ARGV[3]))
return 'settled'
