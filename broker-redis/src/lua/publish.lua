-- Puts a batch of messages into one queue.
--
-- KEYS   ready critical high low level body sched bell dead pub, then the tomb of each remembered
--        item, in their order; if the queue is limited, also owner meta deadbody deadinfo
-- ARGV   slot, number of the call in this slot, seconds to remember the call, count of plain items,
--        a letter for the level of each other item (c, h, n or l), nothing if all are normal,
--        how many may wait: nothing if there is no limit, else R and a number to refuse the others, or
--        D, a number, and life in milliseconds and number of dead letters, to drop the oldest;
--        (id, body) for each plain item: normal, due at once and not remembered;
--        then for each other item: id, 'now' | 'after' | 'at', milliseconds, '1' if remembered, body
-- Returns one character an item: A accepted, D duplicate, F full; if there is no room left, also a space
--        and how many wait; or 'stale' if a later call used the slot.
--
-- The first write adds the bodies, so that a server without memory refuses with nothing applied.

local ready, critical, high, low, level, body, sched, bell, dead, pub = unpack(KEYS, 1, 10)
local slot, call, plain, letters = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[5]
local limited = ARGV[6] ~= ''
local DROPS = 1100 -- Messages that one call drops at most: more than it can add.
local NEAR = 5000 -- Waiting workers look again at least this often, in milliseconds.

local before = redis.call('HGET', pub, slot)
if before then
  local number, outcome = string.match(before, '^(%d+) (.*)$')
  if tonumber(number) == call then return outcome end
  if tonumber(number) > call then return 'stale' end
end

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
redis.call('LLEN', ready)
if letters ~= '' then
  for _, list in ipairs({critical, high, low}) do redis.call('LLEN', list) end
  redis.call('HLEN', level)
end
local silent = redis.call('LLEN', bell) == 0

-- What waits has a body and no owner; `room` is for how many more, if that can be too few.
local policy, most, life, graves, owner, meta, deadbody, deadinfo
local waiting, room, drops = 0, nil, false
if limited then
  policy, most, life, graves = string.match(ARGV[6], '^(%u)(%d+) ?(%d*) ?(%d*)$')
  owner, meta, deadbody, deadinfo = unpack(KEYS, #KEYS - 3)
  waiting = redis.call('HLEN', body) - redis.call('HLEN', owner)
  local items = plain + (#ARGV - 6 - 2 * plain) / 5
  if waiting + items > tonumber(most) then
    drops = policy == 'D'
    if not drops then room = math.max(tonumber(most) - waiting, 0) end
  end
end
if drops then
  for _, list in ipairs({critical, high, low}) do redis.call('LLEN', list) end
  for _, hash in ipairs({level, meta, deadbody, deadinfo}) do redis.call('HLEN', hash) end
  redis.call('ZCARD', sched)
end

local seen, outcomes, adds, lines, times = {}, {}, {}, {}, {}
local levels, notes = {}, {}

-- Whether there is room for one more.
local function admit()
  if not room then return true end
  if room == 0 then
    outcomes[#outcomes + 1] = 'F'
    return false
  end
  room = room - 1
  return true
end

local function accept(id, text)
  outcomes[#outcomes + 1] = 'A'
  adds[#adds + 1] = id
  adds[#adds + 1] = text
end

local buried = redis.call('ZCARD', dead) > 0

-- Which of the ids are among the dead letters, whence they can be put back.
local function died(ids)
  return buried and redis.call('ZMSCORE', dead, unpack(ids)) or {}
end

-- Plain items, as a rule all new: their part of ARGV is written as it stands.
local ids, whole = {}, plain > 0 and not room
for i = 1, plain do ids[i] = ARGV[5 + 2 * i] end
if plain > 0 then
  local there, deaths = redis.call('HMGET', body, unpack(ids)), died(ids)
  for i = 1, plain do
    if there[i] or deaths[i] then
      whole = false
      seen[ids[i]] = true
    end
  end
end

-- Takes the plain items one by one; the first of an id counts.
local function pick()
  for i = 1, plain do
    local id = ids[i]
    if seen[id] then
      outcomes[#outcomes + 1] = 'D'
    elseif admit() then
      accept(id, ARGV[6 + 2 * i])
      lines[#lines + 1] = id
      seen[id] = true
    end
  end
end

if whole and 6 + 2 * plain == #ARGV then
  -- No other item, so nothing is read after this write. Fewer new fields than items: an id stands
  -- here twice, and its first body is written again below.
  whole = redis.call('HSET', body, unpack(ARGV, 7, #ARGV)) == plain
  if whole then
    outcomes[1] = string.rep('A', plain)
    lines = ids
  end
else
  whole = false
end
if not whole then pick() end

local first, soonest, now = 7 + 2 * plain, nil, nil
if first <= #ARGV then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local others, tombs, tomb = {}, {}, 0
  for at = first, #ARGV, 5 do others[#others + 1] = ARGV[at] end
  local there, deaths = redis.call('HMGET', body, unpack(others)), died(others)
  local last = limited and #KEYS - 4 or #KEYS
  if last > 10 then tombs = redis.call('MGET', unpack(KEYS, 11, last)) end
  for i = 1, #others do
    local at = first + 5 * (i - 1)
    local id, mode, due = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local known = there[i] or deaths[i] or seen[id]
    if ARGV[at + 3] == '1' then
      tomb = tomb + 1
      known = known or tombs[tomb]
    end
    if mode == 'after' then due = now + due end
    if known then
      outcomes[#outcomes + 1] = 'D'
      seen[id] = true
    elseif admit() then
      seen[id] = true
      accept(id, ARGV[at + 4])
      local letter = letters ~= '' and string.sub(letters, i, i) or 'n'
      if letter ~= 'n' then
        notes[#notes + 1] = id
        notes[#notes + 1] = letter
      end
      if mode == 'now' or due <= now then
        lines[#lines + 1] = id
        if letter ~= 'n' then levels[#lines] = letter end
      else
        times[#times + 1] = string.format('%.0f', due)
        times[#times + 1] = id
        if not soonest or due < soonest then soonest = due end
      end
    end
  end
end

-- A waiting worker must hear of a time that comes before the one that it waits for.
local ring = #lines > 0
if #times > 0 then redis.call('ZCARD', sched) end
if soonest and soonest - now < NEAR then
  local next = redis.call('ZRANGE', sched, 0, 0, 'WITHSCORES')
  ring = ring or not next[2] or soonest < tonumber(next[2])
end

if #adds > 0 then redis.call('HSET', body, unpack(adds)) end
if #notes > 0 then
  redis.call('HSET', level, unpack(notes))
  push('RPUSH', {n = ready, c = critical, h = high, l = low}, lines, levels)
elseif #lines > 0 then
  redis.call('RPUSH', ready, unpack(lines))
end
if #times > 0 then redis.call('ZADD', sched, unpack(times)) end
if ring and silent then
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, 30)
end

if drops then
  local clock = redis.call('TIME')
  local excess = redis.call('HLEN', body) - redis.call('HLEN', owner) - tonumber(most)
  local lists = {low, ready, high, critical}
  local keys = {lists = lists, body = body, owner = owner, meta = meta, level = level, sched = sched}
  local reason = 'the queue is full: it was the oldest of more than ' .. most
  -- Where the limit was lowered, there can be more than one call may move.
  drop(keys, math.min(excess, DROPS), function(moved, texts, counts)
    local infos = {}
    for i = 1, #moved do infos[i] = (counts[i] or '') .. '\n' .. reason end
    bury({dead, deadbody, deadinfo}, clock, tonumber(life), tonumber(graves), moved, texts, infos)
    clock[2] = clock[2] + #moved
  end)
end

local outcome = table.concat(outcomes)
if room == 0 then outcome = outcome .. ' ' .. string.format('%.0f', waiting + #adds / 2) end
redis.call('HSET', pub, slot, ARGV[2] .. ' ' .. outcome)
redis.call('EXPIRE', pub, ARGV[3])
return outcome
