-- Says what becomes of claimed messages.
--
-- KEYS   ready critical high low level body sched lease solo claims left owner meta bell lost dead
--        deadbody deadinfo, then the tomb of each item with action A, in their order
-- ARGV   life of dead letters in milliseconds, most dead letters, count of groups;
--        for each group of plain acknowledgements: token, count of ids, the ids;
--        then for each other item: id, token, action, x, y, where action is
--          A acknowledge and remember the id for x milliseconds
--          Q requeue after x milliseconds to the end of its level, progress y
--          R release to the head of its level, progress y
--          D to the dead letters, reason x, progress y
-- Returns one character an item: S settled, L lost. An item that is gone, and was not lost by this
--        claim, was settled by an earlier call whose answer did not arrive.
--
-- The first write removes something, so that tasks can end when the server is out of memory.

local ready, critical, high, low, level, body, sched, lease, solo = unpack(KEYS, 1, 9)
local claims, left, owner, meta, bell, lost, dead, deadbody, deadinfo = unpack(KEYS, 10, 18)
local life, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local NEAR = 5000 -- Waiting workers look again every NEAR milliseconds.

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
local tracked = redis.call('HLEN', meta) > 0
local tiered = redis.call('HLEN', level) > 0 -- Whether the level of anything here is not normal.
for _, hash in ipairs({body, claims, left}) do redis.call('HLEN', hash) end
redis.call('ZCARD', lease)
local apart = redis.call('ZCARD', solo) > 0

local answer = {}

-- What to say about a message that is not claimed under the token that was given.
local function stranger(id, token, claim)
  if claim or redis.call('HEXISTS', body, id) == 1 then return 'L' end
  if redis.call('ZSCORE', lost, token .. ' ' .. id) then return 'L' end
  local list = redis.call('HGET', claims, token)
  if list and not string.find(' ' .. list .. ' ', ' ' .. id .. ' ', 1, true) then return 'L' end
  return 'S'
end

local function settled(token, count)
  if redis.call('HINCRBY', left, token, -count) <= 0 then
    redis.call('ZREM', lease, token)
    redis.call('HDEL', claims, token)
    redis.call('HDEL', left, token)
  end
end

-- Removes messages that are finished, given as arguments, so that no table is made of them.
local function finish(token, ...)
  local count = redis.call('HDEL', owner, ...)
  redis.call('HDEL', body, ...)
  if tracked then redis.call('HDEL', meta, ...) end
  if tiered then redis.call('HDEL', level, ...) end
  if apart then redis.call('ZREM', solo, ...) end
  settled(token, count)
end

local at = 4
for _ = 1, tonumber(ARGV[3]) do
  local token, count = ARGV[at], tonumber(ARGV[at + 1])
  local from, to = at + 2, at + 1 + count
  local owners = redis.call('HMGET', owner, unpack(ARGV, from, to))
  local mine = 0
  for i = 1, count do
    if owners[i] == token then mine = mine + 1 end
  end
  if mine == count then
    finish(token, unpack(ARGV, from, to))
    answer[#answer + 1] = string.rep('S', count)
  else
    local done = {}
    for i = 1, count do
      local id = ARGV[from + i - 1]
      if owners[i] == token then
        done[#done + 1] = id
        answer[#answer + 1] = 'S'
      else
        answer[#answer + 1] = stranger(id, token, owners[i])
      end
    end
    if #done > 0 then finish(token, unpack(done)) end
  end
  at = to + 1
end
if at > #ARGV then return table.concat(answer) end

-- The other items: sort out first, then one command for each kind of change.
for _, list in ipairs({ready, critical, high, low}) do redis.call('LLEN', list) end
redis.call('HLEN', deadbody)
redis.call('HLEN', deadinfo)
redis.call('ZCARD', dead)
local silent = redis.call('LLEN', bell) == 0
local next = redis.call('ZRANGE', sched, 0, 0, 'WITHSCORES')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local first, ids = at, {}
for i = first, #ARGV, 5 do ids[#ids + 1] = ARGV[i] end
local owners = redis.call('HMGET', owner, unpack(ids))

local free, gone, forget, counts, times = {}, {}, {}, {}, {}
local tail, head, died, infos, tombs = {}, {}, {}, {}, {}
local done, tokens, soonest, tomb = {}, {}, nil, 18

local function keep(id, progress)
  if progress ~= '' then
    counts[#counts + 1] = id
    counts[#counts + 1] = progress
  else
    forget[#forget + 1] = id
  end
end

for i = 1, #ids do
  local place = first + 5 * (i - 1)
  local id, token, action, x, y = unpack(ARGV, place, place + 4)
  if action == 'A' then tomb = tomb + 1 end
  if done[id] then
    answer[#answer + 1] = done[id] == token and 'S' or 'L'
  elseif owners[i] ~= token then
    answer[#answer + 1] = stranger(id, token, owners[i])
  else
    answer[#answer + 1] = 'S'
    done[id] = token
    free[#free + 1] = id
    tokens[token] = (tokens[token] or 0) + 1
    if action == 'A' then
      gone[#gone + 1] = id
      forget[#forget + 1] = id
      tombs[#tombs + 1] = {KEYS[tomb], x}
    elseif action == 'D' then
      died[#died + 1] = id
      forget[#forget + 1] = id
      infos[#infos + 1] = y .. '\n' .. x
    elseif action == 'R' then
      head[#head + 1] = id
      keep(id, y)
    elseif tonumber(x) > 0 then
      local due = now + tonumber(x)
      times[#times + 1] = string.format('%.0f', due)
      times[#times + 1] = id
      if not soonest or due < soonest then soonest = due end
      keep(id, y)
    else
      tail[#tail + 1] = id
      keep(id, y)
    end
  end
end
if #free == 0 then return table.concat(answer) end

redis.call('HDEL', owner, unpack(free))
if apart then redis.call('ZREM', solo, unpack(free)) end
for token, count in pairs(tokens) do settled(token, count) end
if #gone > 0 then redis.call('HDEL', body, unpack(gone)) end
if tracked and #forget > 0 then redis.call('HDEL', meta, unpack(forget)) end
if #counts > 0 then redis.call('HSET', meta, unpack(counts)) end
if #times > 0 then redis.call('ZADD', sched, unpack(times)) end

-- Puts ids into the lists of their levels.
local function add(command, list)
  if not tiered then return redis.call(command, ready, unpack(list)) end
  push(command, {n = ready, c = critical, h = high, l = low}, list, redis.call('HMGET', level, unpack(list)))
end

if #tail > 0 then add('RPUSH', tail) end
if #head > 0 then
  local back = {}
  for i = #head, 1, -1 do back[#back + 1] = head[i] end
  add('LPUSH', back)
end
if tiered then
  if #gone > 0 then redis.call('HDEL', level, unpack(gone)) end
  if #died > 0 then redis.call('HDEL', level, unpack(died)) end
end
for _, stone in ipairs(tombs) do redis.call('SET', stone[1], '', 'PX', stone[2]) end

if #died > 0 then
  local texts = redis.call('HMGET', body, unpack(died))
  redis.call('HDEL', body, unpack(died))
  bury({dead, deadbody, deadinfo}, clock, life, most, died, texts, infos)
end

local near = soonest and soonest - now < NEAR and (not next[2] or soonest < tonumber(next[2]))
if silent and (near or #tail > 0 or #head > 0) then
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, 30)
end
return table.concat(answer)
