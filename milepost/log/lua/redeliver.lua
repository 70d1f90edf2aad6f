-- Give a waiting job a new delivery if its own was lost (Redis evicted it, somebody deleted a queue), or if it has come due
-- where no worker has looked since, and all that was submitted later would stand before it (see `line_up` in take.lua).
-- ARGV: id, for how long it may have been due with the score of a delayed job, in ms.
local status, number, queue, due = unpack(redis.call('HMGET', STATE, 'status', 'delivery', 'queue', 'due'))
if not status then return 'gone' end
if is_done(status) or status == 'running' then return 'not_waiting' end
local delivery = ID .. '.' .. number
due = tonumber(due)
local score = redis.call('ZSCORE', 'mp:queue:' .. queue, delivery)
local there = score and redis.call('EXISTS', 'arq:job:' .. delivery) == 1
local passed = there and tonumber(score) == due and due < NOW - tonumber(ARGV[2])
if there and not passed then return 'there' end
withdraw()
deliver(due)
return passed and 'lined_up' or 'delivered'
