-- Removes a message that nobody has claimed. Its id stays in the list of due ones, where the
-- next claim skips it: removing it there would cost as much as the list is long.
--
-- KEYS   body owner sched meta level
-- ARGV   id
-- Returns C cancelled, R a worker has it, N not here.

local body, owner, sched, meta, level = unpack(KEYS)
local id = ARGV[1]
if redis.call('HEXISTS', owner, id) == 1 then return 'R' end
redis.call('ZCARD', sched)
redis.call('HLEN', meta)
redis.call('HLEN', level)
if redis.call('HDEL', body, id) == 0 then return 'N' end
redis.call('ZREM', sched, id)
redis.call('HDEL', meta, id)
redis.call('HDEL', level, id)
return 'C'
