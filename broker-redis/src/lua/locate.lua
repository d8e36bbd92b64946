-- Tells where a message is.
--
-- KEYS   body owner sched meta dead
-- ARGV   id
-- Returns R and the token: a worker has it, Q ready, D dead, N not here, or {due in milliseconds, progress or ''}.

local body, owner, sched, meta, dead = unpack(KEYS)
local id = ARGV[1]
local token = redis.call('HGET', owner, id)
if token then return 'R' .. token end
local due = redis.call('ZSCORE', sched, id)
if due then return {string.format('%.0f', due), redis.call('HGET', meta, id) or ''} end
if redis.call('HEXISTS', body, id) == 1 then return 'Q' end
if redis.call('ZSCORE', dead, id) then return 'D' end
return 'N'
