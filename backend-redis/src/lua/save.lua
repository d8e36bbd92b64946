-- Stores records, each only if it may replace what is stored, and tells those who wait.
-- The guard is that of Record::replaces in windlass-core; the two must stay the same.
--
-- KEYS[1]          hash of waiters: id -> names of inboxes
-- KEYS[2..n+1]     where each record is stored
-- KEYS[n+2..]      where each result that is kept apart is stored
-- ARGV[1]          n
-- ARGV[2]          place of the id's first byte in the key of a record
-- ARGV[3]          prefix of the inbox channels
-- ARGV[4]          largest message to a waiter; what is larger is announced without its content
-- ARGV[5..2n+4]    of each record: bytes, lifetime
-- ARGV[2n+5..]     of each result kept apart: number of its record, bytes, lifetime
-- A lifetime is in milliseconds; 0 is not stored, -1 stays until it is removed.
-- Returns the numbers of the records that were refused.

local FINAL = {succeeded = true, failed = true, cancelled = true, expired = true}

-- Tokens have up to 64 bits, more than a number here can hold.
local function less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

local function replaces(record, stored)
  local stored_token, stored_state = string.match(stored, '^%d+ (%d+) (%l+) ')
  if not stored_token then
    return true
  end
  local token, state = string.match(record, '^%d+ (%d+) (%l+) ')
  if less(token, stored_token) then
    return false
  end
  if not FINAL[stored_state] then
    return true
  end
  if token == stored_token then
    return state == stored_state or (stored_state == 'cancelled' and state == 'queued')
  end
  return stored_state == 'failed'
end

local function store(key, bytes, lifetime)
  if lifetime == '-1' then
    redis.call('SET', key, bytes)
  elseif lifetime ~= '0' then
    redis.call('SET', key, bytes, 'PX', lifetime)
  end
end

local count = tonumber(ARGV[1])
local stored = redis.call('MGET', unpack(KEYS, 2, count + 1))
local refused, is_refused = {}, {}
for i = 1, count do
  local record, lifetime = ARGV[2 * i + 3], ARGV[2 * i + 4]
  if stored[i] and not replaces(record, stored[i]) then
    refused[#refused + 1] = i
    is_refused[i] = true
  else
    store(KEYS[i + 1], record, lifetime)
    if stored[i] and lifetime == '0' then
      redis.call('UNLINK', KEYS[i + 1])
    end
  end
end

local apart = {}
for place = 2 * count + 5, #ARGV, 3 do
  local i = tonumber(ARGV[place])
  if not is_refused[i] then
    apart[i] = {bytes = ARGV[place + 1], lifetime = ARGV[place + 2]}
    store(KEYS[count + 2 + (place - 2 * count - 5) / 3], apart[i].bytes, apart[i].lifetime)
  end
end

if redis.call('HLEN', KEYS[1]) == 0 then
  return refused
end

-- What is not in the store as a whole cannot be fetched, so it is always sent.
local function message(i, id)
  local text, kept = id .. '\n' .. ARGV[2 * i + 3], ARGV[2 * i + 4] ~= '0'
  if apart[i] then
    text, kept = text .. '=' .. apart[i].bytes, kept and apart[i].lifetime ~= '0'
  end
  if kept and #text > tonumber(ARGV[4]) then
    return id
  end
  return text
end

local ended, ids, told = {}, {}, {}
for i = 1, count do
  if not is_refused[i] and FINAL[string.match(ARGV[2 * i + 3], '^%d+ %d+ (%l+) ')] then
    ended[#ended + 1] = i
    ids[#ids + 1] = string.sub(KEYS[i + 1], ARGV[2])
  end
end
if #ids > 0 then
  local inboxes = redis.call('HMGET', KEYS[1], unpack(ids))
  for n, id in ipairs(ids) do
    if inboxes[n] then
      local text = message(ended[n], id)
      for inbox in string.gmatch(inboxes[n], '%S+') do
        redis.call('PUBLISH', ARGV[3] .. inbox, text)
      end
      told[#told + 1] = id
    end
  end
end
if #told > 0 then
  redis.call('HDEL', KEYS[1], unpack(told))
end
return refused
