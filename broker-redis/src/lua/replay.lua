-- Puts dead letters back to the end of their level, with fresh counts.
--
-- KEYS   ready critical high low level body bell dead deadbody deadinfo
-- ARGV   for each: id, the message that takes its place, or nothing if it runs as it was
-- Returns how many there were.

local ready, critical, high, low, level, body, bell, dead, deadbody, deadinfo = unpack(KEYS)
local LETTERS = {critical = 'c', high = 'h', low = 'l'}

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
for _, list in ipairs({ready, critical, high, low}) do redis.call('LLEN', list) end
redis.call('HLEN', level)
redis.call('HLEN', body)
local silent = redis.call('LLEN', bell) == 0

local asked = {}
for i = 1, #ARGV, 2 do asked[#asked + 1] = ARGV[i] end
local scores = redis.call('ZMSCORE', dead, unpack(asked))
local texts = redis.call('HMGET', deadbody, unpack(asked))
local ids, adds, seen, levels, notes = {}, {}, {}, {}, {}

-- The letter of a message's level, as its envelope tells; nothing if that is normal.
local function letter(text)
  local head = string.sub(text, 1, string.find(text, '\n\n', 1, true) or 0)
  return LETTERS[string.match(head, '\npriority=(%a+)\n')]
end

for i, id in ipairs(asked) do
  local text = ARGV[2 * i] ~= '' and ARGV[2 * i] or texts[i]
  if scores[i] and text and not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
    adds[#adds + 1] = id
    adds[#adds + 1] = text
    levels[#ids] = letter(text)
    if levels[#ids] then
      notes[#notes + 1] = id
      notes[#notes + 1] = levels[#ids]
    end
  end
end
if #ids == 0 then return 0 end
redis.call('HDEL', deadinfo, unpack(ids))
redis.call('HSET', body, unpack(adds))
if #notes > 0 then redis.call('HSET', level, unpack(notes)) end
push('RPUSH', {n = ready, c = critical, h = high, l = low}, ids, levels)
redis.call('ZREM', dead, unpack(ids))
redis.call('HDEL', deadbody, unpack(ids))
if silent then
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, 30)
end
return #ids
