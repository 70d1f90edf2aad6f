-- A job that nobody has begun in time. Not one that was begun before and waits for its next attempt.
-- ARGV: id, history limit, retention in ms, error (JSON).
local status, started = unpack(redis.call('HMGET', STATE, 'status', 'started_at'))
if not status then return 'gone' end
if is_done(status) or started then return 'begun' end
withdraw()
finish_without_result('expired', ARGV[4], ARGV[2], tonumber(ARGV[3]))
return 'expired'
