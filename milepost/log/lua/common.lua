-- Every script begins with this text, after the check of GENERATION (see generation.py). KEYS[1] is the state hash of a job, KEYS[2] its stream of events; both share the
-- hash tag {job id} (take.lua, which is about many jobs, sets these names for each). Time is Redis's own: hosts with wrong clocks cannot disorder a history.
local STATE, EVENTS = KEYS[1], KEYS[2]
local ID = ARGV[1]
local LEASES, LIFECYCLE = 'mp:leases', 'mp:lifecycle'
local PUSH_BYTES = 65536         -- a larger event is announced, not pushed: it would fill the readers' buffers
local LIFECYCLE_EVENTS = 1000000 -- what a recorder that is away may miss at most
local DELIVERY_TTL_MS = 7776000000 -- 90 days: arq drops what waits longer

local clock = redis.call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function rfc3339(ms)
  -- Civil date from days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
  local seconds = math.floor(ms / 1000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, ms % 1000)
end

local AT = rfc3339(NOW)

local function text(value) -- a JSON string from text that needs no escapes, or null
  return value and value ~= '' and '"' .. value .. '"' or 'null'
end

-- What follows is not what readers may have seen follow: the history branches. Cursors of the epochs before are good for
-- as far as this history goes with theirs.
local BRANCHES = 4
local function branch()
  local epoch, seq, branches = unpack(redis.call('HMGET', STATE, 'epoch', 'seq', 'branches'))
  local kept, count = epoch .. '-' .. (seq or '0'), 1
  for one in string.gmatch(branches or '', '%S+') do
    if count < BRANCHES then kept, count = kept .. ' ' .. one, count + 1 end
  end
  epoch = string.sub(redis.sha1hex(ID .. ' ' .. kept .. ' ' .. clock[1] .. ' ' .. clock[2]), 1, 10)
  redis.call('HSET', STATE, 'epoch', epoch, 'generation', GENERATION, 'branches', kept)
  return epoch
end

-- The one place where a job's history grows: number it, remember it, tell who listens.
-- `body` is the inside of a JSON object; `fields` are state fields, where the value @at means now.
local function append(kind, body, fields, history_limit)
  local epoch, generation = unpack(redis.call('HMGET', STATE, 'epoch', 'generation'))
  if generation ~= GENERATION then -- Redis may have lost events after the last one that it has of this job
    epoch = branch()
  end
  local seq = redis.call('HINCRBY', STATE, 'seq', 1)
  local cursor = epoch .. '-' .. seq
  local event = '{"type":"' .. kind .. '","job_id":"' .. ID .. '","seq":' .. seq .. ',"cursor":"' .. cursor
    .. '","at":"' .. AT .. '",' .. body .. '}'
  for i = 2, #fields, 2 do
    if fields[i] == '@at' then fields[i] = AT end
  end
  fields[#fields + 1] = 'updated_at'
  fields[#fields + 1] = AT
  redis.call('HSET', STATE, unpack(fields))
  redis.call('XADD', EVENTS, 'MAXLEN', '~', history_limit, seq .. '-0', 't', kind, 'e', event)
  if kind == 'status' or kind == 'end' then
    -- With the moment of the job: an event that is recorded late must not be taken for one of a later job of the same id.
    redis.call('XADD', LIFECYCLE, 'MAXLEN', '~', LIFECYCLE_EVENTS, '*', 'e', event, 'c',
      redis.call('HGET', STATE, 'created_at') or '')
  end
  local message = cursor .. ' ' .. kind
  if #event <= PUSH_BYTES then message = message .. ' ' .. event end
  redis.call('PUBLISH', 'mp:{' .. ID .. '}:live', message)
  return seq
end

local function append_status(change, fields, history_limit)
  local previous = redis.call('HGET', STATE, 'status')
  local body = '"status":"' .. change.status .. '","previous":' .. text(previous) .. ',"attempt":' .. change.attempt
    .. ',"run_at":' .. text(change.run_at) .. ',"cancel_requested":' .. tostring(change.cancel_requested or false)
    .. ',"error":' .. (change.error or 'null') .. ',"worker":' .. text(change.worker)
  for _, pair in ipairs({ { 'status', change.status }, { 'attempt', change.attempt }, { 'run_at', change.run_at or '' },
    { 'error', change.error or '' }, { 'stalled', '' } }) do
    fields[#fields + 1] = pair[1]
    fields[#fields + 1] = pair[2]
  end
  return append('status', body, fields, history_limit)
end

-- Hand the job to arq: its payload, its place in the queue, and a wake-up for idle workers. Every delivery has an
-- id of its own, so that what a lost worker still does to its delivery's keys cannot touch the next one's.
-- These are arq's keys (arq.constants), written here so that status and delivery cannot disagree.
local function deliver(due)
  local queue, priority = unpack(redis.call('HMGET', STATE, 'queue', 'priority'))
  local delivery = ID .. '.' .. redis.call('HINCRBY', STATE, 'delivery', 1)
  local score = due
  if due <= NOW then
    -- What is due is taken in the order of its score: a step of priority is worth 11 days of waiting (see take.lua).
    score = due - (11 + tonumber(priority)) * 1000000000
  end
  redis.call('HSET', STATE, 'due', string.format('%.0f', due))
  redis.call('PSETEX', 'arq:job:' .. delivery, DELIVERY_TTL_MS,
    '{"t":null,"f":"attempt","a":["' .. ID .. '"],"k":{},"et":' .. string.format('%.0f', NOW) .. '}')
  redis.call('ZADD', 'mp:queue:' .. queue, string.format('%.0f', score), delivery)
  redis.call('PUBLISH', 'mp:wake:' .. queue, string.format('%.0f', math.max(0, due - NOW)))
end

local function withdraw() -- take the present delivery back: nobody shall run it
  local queue, number = unpack(redis.call('HMGET', STATE, 'queue', 'delivery'))
  local delivery = ID .. '.' .. number
  redis.call('ZREM', 'mp:queue:' .. queue, delivery)
  redis.call('DEL', 'arq:job:' .. delivery)
end

local function finish(body, fields, history_limit, retention_ms)
  redis.call('ZREM', LEASES, ID)
  for _, pair in ipairs({ { 'finished_at', '@at' }, { 'expires_at', rfc3339(NOW + retention_ms) }, { 'stalled', '' },
    { 'run_at', '' } }) do
    fields[#fields + 1] = pair[1]
    fields[#fields + 1] = pair[2]
  end
  append('end', body, fields, history_limit)
  redis.call('HDEL', STATE, 'params', 'checkpoint') -- nobody runs it again, and they may hold secrets
  redis.call('PEXPIRE', STATE, retention_ms)
  redis.call('PEXPIRE', EVENTS, retention_ms)
end

local function of_attempt(error, attempt) -- errors that a caller prepares do not know the attempt
  return (string.gsub(error, '"attempt":0', '"attempt":' .. attempt, 1))
end

local function finish_without_result(status, error, history_limit, retention_ms)
  local attempt, progress = unpack(redis.call('HMGET', STATE, 'attempt', 'progress'))
  error = of_attempt(error, attempt)
  finish('"status":"' .. status .. '","attempt":' .. attempt .. ',"progress":' .. progress
    .. ',"result":null,"result_omitted":false,"error":' .. error,
    { 'status', status, 'error', error }, history_limit, retention_ms)
end

local function is_done(status)
  return status == 'succeeded' or status == 'failed' or status == 'cancelled' or status == 'expired'
end
