-- Puts dead letters back to the end of their queue, with fresh counts.
--
-- KEYS   ready body bell dead deadbody deadinfo
-- ARGV   ids
-- Returns how many there were.

local ready, body, bell, dead, deadbody, deadinfo = unpack(KEYS)
redis.call('LLEN', ready)
redis.call('HLEN', body)
local silent = redis.call('LLEN', bell) == 0

local scores = redis.call('ZMSCORE', dead, unpack(ARGV))
local texts = redis.call('HMGET', deadbody, unpack(ARGV))
local ids, adds, seen = {}, {}, {}
for i = 1, #ARGV do
  if scores[i] and texts[i] and not seen[ARGV[i]] then
    seen[ARGV[i]] = true
    ids[#ids + 1] = ARGV[i]
    adds[#adds + 1] = ARGV[i]
    adds[#adds + 1] = texts[i]
  end
end
if #ids == 0 then return 0 end
redis.call('HDEL', deadinfo, unpack(ids))
redis.call('HSET', body, unpack(adds))
redis.call('RPUSH', ready, unpack(ids))
redis.call('ZREM', dead, unpack(ids))
redis.call('HDEL', deadbody, unpack(ids))
if silent then
  redis.call('RPUSH', bell, '1')
  redis.call('EXPIRE', bell, 30)
end
return #ids
