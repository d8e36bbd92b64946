-- Claims due messages, the most urgent first: makes due what was delayed, takes back what lost
-- workers held, and records the claim in the same step that takes the ids off their lists.
--
-- KEYS   ready critical high low level body sched lease solo claims left owner meta seq bell lost
-- ARGV   most messages (up to 1000), lease in milliseconds, and, unless nothing is kept for anybody,
--        how many of them are kept for critical, high, normal and low ones
-- Returns the milliseconds until there can be something (-1: nothing is known of), or
--        {token, ids, lengths of the bodies, the bodies one after the other, progress of each}:
--        ids and lengths are separated by spaces, progress by semicolons ('' if nobody has any).
--
-- The first write removes something, so that claims go on when the server is out of memory.

local ready, critical, high, low, level, body, sched, lease, solo = unpack(KEYS, 1, 9)
local claims, left, owner, meta, seq, bell, lost = unpack(KEYS, 10, 16)
local max, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local PROMOTE, REAP, REAPED, ROUNDS, BYTES = 200, 10, 1000, 10, 4194304
local HOUR = 3600 -- How long it is known that a claim was lost, in seconds.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local due = redis.call('ZRANGEBYSCORE', sched, '-inf', now, 'LIMIT', 0, PROMOTE)
local batches = redis.call('ZRANGEBYSCORE', lease, '-inf', now, 'LIMIT', 0, REAP)
local single = redis.call('ZRANGEBYSCORE', solo, '-inf', now, 'LIMIT', 0, PROMOTE)

local function idle()
  local soonest = -1
  for _, set in ipairs({sched, lease, solo}) do
    local next = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if next[2] then
      local wait = math.max(tonumber(next[2]) - now, 0)
      if soonest < 0 or wait < soonest then soonest = wait end
    end
  end
  return soonest
end

-- Whether the level of anything here is not normal, or was when it was cancelled.
local tiered = redis.call('EXISTS', level, critical, high, low) > 0
local lists = tiered and {critical, high, ready, low} or {ready}

local function waiting()
  local count = 0
  for _, list in ipairs(lists) do count = count + redis.call('LLEN', list) end
  return count > 0
end

local calm = #due == 0 and #batches == 0 and #single == 0
if not waiting() and calm then return idle() end

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
local silent = redis.call('LLEN', bell) == 0
local last = tonumber(redis.call('GET', seq) or '0')
for _, hash in ipairs({body, owner, claims, left, meta}) do redis.call('HLEN', hash) end
if tiered then redis.call('HLEN', level) end
redis.call('ZCARD', lost)

-- Puts ids into the lists of their levels.
local function add(command, ids)
  if not tiered then return redis.call(command, ready, unpack(ids)) end
  push(command, {n = ready, c = critical, h = high, l = low}, ids, redis.call('HMGET', level, unpack(ids)))
end

if #due > 0 then
  redis.call('ZREM', sched, unpack(due))
  add('RPUSH', due)
end

-- Offers ids again, the last of the list at the head, with one more loss each; notes under which
-- tokens they were lost.
local function offer(ids, tokens)
  redis.call('HDEL', owner, unpack(ids))
  local before, counts, notes = redis.call('HMGET', meta, unpack(ids)), {}, {}
  for i = 1, #ids do
    local failures, losses, rest = string.match(before[i] or '0 0 0 0', '^(%d+) (%d+) (.*)$')
    counts[2 * i - 1] = ids[i]
    counts[2 * i] = failures .. ' ' .. string.format('%.0f', losses + 1) .. ' ' .. rest
    notes[2 * i - 1] = string.format('%.0f', now)
    notes[2 * i] = tokens[i] .. ' ' .. ids[i]
  end
  redis.call('HSET', meta, unpack(counts))
  add('LPUSH', ids)
  redis.call('ZREMRANGEBYSCORE', lost, '-inf', string.format('%.0f', now - 1000 * HOUR))
  redis.call('ZADD', lost, unpack(notes))
  redis.call('EXPIRE', lost, HOUR)
end

local function forget(token)
  redis.call('ZREM', lease, token)
  redis.call('HDEL', claims, token)
  redis.call('HDEL', left, token)
end

-- Takes back what a claim still holds, except for what has a lease of its own.
local function reap(token)
  redis.call('ZREM', lease, token)
  local ids, back, tokens, apart, kept = {}, {}, {}, {}, 0
  for id in string.gmatch(redis.call('HGET', claims, token) or '', '%S+') do ids[#ids + 1] = id end
  if #ids > 0 then
    local owners = redis.call('HMGET', owner, unpack(ids))
    if redis.call('ZCARD', solo) > 0 then apart = redis.call('ZMSCORE', solo, unpack(ids)) end
    for i = #ids, 1, -1 do
      if owners[i] == token and apart[i] then
        kept = kept + 1
      elseif owners[i] == token then
        back[#back + 1] = ids[i]
        tokens[#back] = token
      end
    end
  end
  if #back > 0 then offer(back, tokens) end
  if kept > 0 then redis.call('HSET', left, token, kept) else forget(token) end
  return #back
end

if #single > 0 then
  redis.call('ZREM', solo, unpack(single))
  local owners, back, tokens = redis.call('HMGET', owner, unpack(single)), {}, {}
  for i = #single, 1, -1 do
    if owners[i] then
      back[#back + 1] = single[i]
      tokens[#back] = owners[i]
    end
  end
  if #back > 0 then offer(back, tokens) end
  for _, token in ipairs(tokens) do
    if redis.call('HINCRBY', left, token, -1) <= 0 then forget(token) end
  end
end

-- The claim that ran out first ends up at the head.
local reaped = 0
for i = #batches, 1, -1 do
  if reaped < REAPED then reaped = reaped + reap(batches[i]) end
end

local ids, bodies, lengths, seen, count, bytes = {}, {}, {}, {}, 0, 0
local kept, lines = tiered and #ARGV > 2, {}

-- Takes what can be claimed from `popped`; puts the rest back into its list when the answer is large
-- enough.
-- Skipped are ids without a body (cancelled), and those that stand in the list a second time and
-- are claimed or delayed.
local function take(line, popped)
  local owners = redis.call('HMGET', owner, unpack(popped))
  local delays = {}
  if redis.call('ZCARD', sched) > 0 then delays = redis.call('ZMSCORE', sched, unpack(popped)) end
  -- Bodies are read in pieces, so that large ones are not read to be put back.
  local from, piece = 1, 4
  while from <= #popped do
    local upto = math.min(from + piece - 1, #popped)
    local found = redis.call('HMGET', body, unpack(popped, from, upto))
    for i = from, upto do
      local id, text = popped[i], found[i - from + 1]
      if text and not owners[i] and not delays[i] and not seen[id] then
        if count > 0 and bytes + #text > BYTES then
          local back = {}
          for j = #popped, i, -1 do back[#back + 1] = popped[j] end
          redis.call('LPUSH', lists[line], unpack(back))
          return false
        end
        count = count + 1
        bytes = bytes + #text
        seen[id] = true
        ids[count], bodies[count], lengths[count] = id, text, #text
        if kept then lines[count] = line end
      end
    end
    from, piece = upto + 1, 64
  end
  return true
end

-- Takes up to `most` from one list; answers whether there is room for more.
local rounds = ROUNDS
local function claim(line, most)
  local goal = math.min(count + most, max)
  while count < goal do
    local popped = redis.call('LPOP', lists[line], goal - count)
    if not popped then return true end
    if not take(line, popped) then return false end
    rounds = rounds - 1
    if rounds == 0 then return false end
  end
  return count < max
end

local function claim_kept()
  for line = 1, #lists do
    if not claim(line, tonumber(ARGV[2 + line])) then return false end
  end
  rounds = ROUNDS
  return true
end

if not kept or claim_kept() then
  for line = 1, #lists do
    if not claim(line, max) then break end
  end
end

-- What was kept for the less urgent was taken first, but comes in its order.
if kept then
  local sorted = {{}, {}, {}}
  for line = 1, #lists do
    for i = 1, count do
      if lines[i] == line then
        table.insert(sorted[1], ids[i])
        table.insert(sorted[2], bodies[i])
        table.insert(sorted[3], lengths[i])
      end
    end
  end
  ids, bodies, lengths = unpack(sorted)
end

local more = waiting()
if count == 0 then return more and 0 or idle() end

local token = string.format('%.0f', math.max(last + 1, clock[1] * 1000000 + clock[2]))
local list, owners = table.concat(ids, ' '), {}
for i = 1, count do
  owners[2 * i - 1] = ids[i]
  owners[2 * i] = token
end
redis.call('HSET', owner, unpack(owners))
redis.call('HSET', claims, token, list)
redis.call('HSET', left, token, count)
redis.call('ZADD', lease, string.format('%.0f', now + span), token)
redis.call('SET', seq, token)

-- One worker wakes the next, as long as there is something to do.
if more and silent then
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, 30)
end

local progress = ''
if redis.call('HLEN', meta) > 0 then
  local counts = redis.call('HMGET', meta, unpack(ids))
  for i = 1, count do counts[i] = counts[i] or '' end
  progress = table.concat(counts, ';')
end
return {token, list, table.concat(lengths, ' '), table.concat(bodies), progress}
