-- Changes notes, each for itself and only over what it expects, in their order.
--
-- KEYS   the last version of any note; for each shelf: its names, its ends; then the note of each
--        change, in their order
-- ARGV   count of shelves; then for each change: number of its shelf, name, expected, lifetime, value,
--        where expected is * anything, - nothing, or a version, and lifetime is in milliseconds, 0
--        removes the note, -1 keeps it until it is removed
-- Returns for each change its new version, 0 if the note is removed, nothing if it found something
-- else than it expected.
--
-- A note is its version, a line feed and its value. Its name is among the names of its shelf, and among
-- the ends too if it has one.
-- The first write of a batch that adds anything is a SET, so that a server without memory refuses
-- with nothing applied.

local SWEEP = 100 -- Names of ended notes that one call removes from a shelf, beside two a change.
local SLACK = 60000 -- How long a name outlasts its note, in milliseconds: clocks of replicas differ.
local DAY = 86400000 -- After this long without a change, the clock is ahead of every version.

local shelves = tonumber(ARGV[1])
local count = (#ARGV - 1) / 5
local clock = redis.call('TIME')
local micros = clock[1] * 1000000 + clock[2]
local now = math.floor(micros / 1000)

local function change(i)
  return unpack(ARGV, 5 * i - 3, 5 * i + 1)
end

local function note(i)
  return KEYS[1 + 2 * shelves + i]
end

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
local last = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
for i = 2, 1 + 2 * shelves do redis.call('ZCARD', KEYS[i]) end
local versions = {}
for i = 1, count do
  if not versions[note(i)] then
    local head = redis.call('GETRANGE', note(i), 0, 20)
    versions[note(i)] = head == '' and '-' or string.match(head, '^(%d+)\n') or '?'
  end
end

-- What a note becomes is decided here, and written once below, however often it changes in this call.
local answers, final, adds = {}, {}, false
for i = 1, count do
  local _, _, expected, lifetime = change(i)
  local key = note(i)
  local there = versions[key]
  if expected ~= '*' and expected ~= there then
    answers[i] = false
  elseif lifetime == '0' then
    answers[i] = '0'
    versions[key] = '-'
    final[key] = i
  else
    last = math.max(last + 1, micros, (tonumber(there) or 0) + 1)
    answers[i] = string.format('%.0f', last)
    versions[key] = answers[i]
    final[key] = i
    adds = true
  end
end

if adds then redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', DAY) end

local stays, ends, gone = {}, {}, {}
for i = 1, shelves do stays[i], ends[i], gone[i] = {}, {}, {} end
local removed = {}
for i = 1, count do
  if final[note(i)] == i then
    local number, name, _, lifetime, value = change(i)
    local shelf = tonumber(number)
    if lifetime == '0' then
      removed[#removed + 1] = note(i)
      table.insert(gone[shelf], name)
    elseif lifetime == '-1' then
      redis.call('SET', note(i), answers[i] .. '\n' .. value)
      table.insert(stays[shelf], name)
    else
      redis.call('SET', note(i), answers[i] .. '\n' .. value, 'PX', lifetime)
      table.insert(ends[shelf], string.format('%.0f', now + tonumber(lifetime)))
      table.insert(ends[shelf], name)
    end
  end
end
if #removed > 0 then redis.call('UNLINK', unpack(removed)) end

local function strike(names, ...)
  for _, key in ipairs({...}) do
    if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  end
end

for i = 1, shelves do
  local index, ending = KEYS[2 * i], KEYS[2 * i + 1]
  strike(gone[i], index, ending)
  strike(stays[i], ending)
  local names = {}
  for _, name in ipairs(stays[i]) do
    names[#names + 1] = 0
    names[#names + 1] = name
  end
  for at = 2, #ends[i], 2 do
    names[#names + 1] = 0
    names[#names + 1] = ends[i][at]
  end
  if #names > 0 then redis.call('ZADD', index, unpack(names)) end
  if #ends[i] > 0 then redis.call('ZADD', ending, unpack(ends[i])) end
  -- More than can have been added, so that what nobody lists does not grow either.
  local old = string.format('%.0f', now - SLACK)
  strike(redis.call('ZRANGEBYSCORE', ending, '-inf', old, 'LIMIT', 0, SWEEP + 2 * count), index, ending)
  -- The names end with the last note that does, unless one of them stays.
  local latest = redis.call('ZRANGE', ending, -1, -1, 'WITHSCORES')[2]
  local till = latest and string.format('%.0f', tonumber(latest) + SLACK)
  if till then redis.call('PEXPIREAT', ending, till) end
  if redis.call('ZCARD', index) > redis.call('ZCARD', ending) then
    redis.call('PERSIST', index)
  elseif till then
    redis.call('PEXPIREAT', index, till)
  end
end
return answers
