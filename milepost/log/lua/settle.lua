-- The end of a job stands elsewhere, and here it lives: Redis came back without what it had acknowledged last. Readers
-- have seen that end, so it stays the only one. Whoever runs the job again is refused from here on.
-- ARGV: id, new epoch, history limit, retention in ms, large result or '', body, fields…
local status = redis.call('HGET', STATE, 'status')
if not status then return 'gone' end
if is_done(status) then return 'done' end
withdraw()
redis.call('HSET', STATE, 'epoch', ARGV[2]) -- what follows is not the history that readers know
if ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[4]) end
local fields = {}
for i = 7, #ARGV do fields[#fields + 1] = ARGV[i] end
finish(ARGV[6], fields, ARGV[3], tonumber(ARGV[4]))
return 'settled'
