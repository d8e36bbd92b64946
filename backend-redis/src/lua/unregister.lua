-- Notes that an inbox does not wait for tasks any more.
--
-- KEYS[1]   hash of waiters: id -> names of inboxes, separated by spaces
-- ARGV[1]   name of the inbox
-- ARGV[2..] ids
-- Returns nothing.

local inbox = ARGV[1]
local known = redis.call('HMGET', KEYS[1], unpack(ARGV, 2))
local emptied, changed = {}, {}
for n = 1, #ARGV - 1 do
  local others = {}
  for name in string.gmatch(known[n] or '', '%S+') do
    if name ~= inbox then
      others[#others + 1] = name
    end
  end
  if #others == 0 then
    emptied[#emptied + 1] = ARGV[n + 1]
  else
    changed[#changed + 1] = ARGV[n + 1]
    changed[#changed + 1] = table.concat(others, ' ')
  end
end
if #emptied > 0 then
  redis.call('HDEL', KEYS[1], unpack(emptied))
end
if #changed > 0 then
  redis.call('HSET', KEYS[1], unpack(changed))
end
