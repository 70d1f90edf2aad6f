-- A job that nobody has begun in time. Not one that was begun before and waits for its next attempt.
-- ARGV: id, history limit, retention in ms, error (JSON), how long it may wait in ms. The caller's clock says that this
-- is over; ours decides, which knows when the job became due.
local status, started, due = unpack(redis.call('HMGET', STATE, 'status', 'started_at', 'due'))
if not status then return 'gone' end
if is_done(status) or started then return 'begun' end
if NOW < tonumber(due) + tonumber(ARGV[5]) then return 'early' end
withdraw()
finish_without_result('expired', ARGV[4], ARGV[2], tonumber(ARGV[3]))
return 'expired'
