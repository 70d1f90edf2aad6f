-- What an attempt has to say. Refused when the attempt no longer holds the job; a report that was sent twice, because
-- the reply to the first was lost, is taken once: reports of an attempt are numbered from 1.
-- ARGV: id, fence, number, action, history limit, then by action
--   event: kind, body, fields…          checkpoint: its JSON
--   end: retention in ms, large result or '', body, fields…
--   retry: retention in ms, error of a cancel, delay in ms, error       release: retention in ms, error of a cancel
local status, fence, reports = unpack(redis.call('HMGET', STATE, 'status', 'fence', 'reports'))
local number, action, history_limit = tonumber(ARGV[3]), ARGV[4], ARGV[5]
if not status then return 'gone' end
if fence ~= ARGV[2] then return 'refused' end
if number <= tonumber(reports) then return 'duplicate' end
if status ~= 'running' then return 'refused' end
if number > reports + 1 then
  -- Redis lost events that it had acknowledged, whether it knows so or not. Readers may have seen them.
  branch()
end
local function rest(from)
  local fields = { 'reports', ARGV[3] }
  for i = from, #ARGV do fields[#fields + 1] = ARGV[i] end
  return fields
end
if action == 'event' then
  append(ARGV[6], ARGV[7], rest(8), history_limit)
elseif action == 'checkpoint' then -- for the next attempt's eyes only: no event, no place in the history
  redis.call('HSET', STATE, 'reports', ARGV[3], 'checkpoint', ARGV[6])
elseif action == 'end' then
  if ARGV[7] ~= '' then redis.call('SET', KEYS[3], ARGV[7], 'PX', ARGV[6]) end
  finish(ARGV[8], rest(9), history_limit, tonumber(ARGV[6]))
else
  local attempt, cancel = unpack(redis.call('HMGET', STATE, 'attempt', 'cancel_requested'))
  redis.call('ZREM', LEASES, ID)
  redis.call('HSET', STATE, 'reports', ARGV[3])
  if cancel == '1' then -- nobody will run it again: the cancel that this attempt has not heard is carried out here
    finish_without_result('cancelled', ARGV[7], history_limit, tonumber(ARGV[6]))
  elseif action == 'retry' then
    local due = NOW + tonumber(ARGV[8])
    append_status({ status = 'retrying', attempt = attempt, run_at = rfc3339(due), error = ARGV[9] }, {}, history_limit)
    deliver(due)
  else -- release: the worker is leaving; this attempt shall not count
    append_status({ status = 'queued', attempt = attempt - 1 }, {}, history_limit)
    deliver(NOW)
  end
end
return 'ok'
