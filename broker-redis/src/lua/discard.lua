-- Removes dead letters for good.
--
-- KEYS   dead deadbody deadinfo
-- ARGV   ids
-- Returns how many there were.

local dead, deadbody, deadinfo = unpack(KEYS)
-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
redis.call('HLEN', deadbody)
redis.call('HLEN', deadinfo)
local count = redis.call('ZREM', dead, unpack(ARGV))
redis.call('HDEL', deadbody, unpack(ARGV))
redis.call('HDEL', deadinfo, unpack(ARGV))
return count
