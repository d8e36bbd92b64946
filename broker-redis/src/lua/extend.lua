-- Extends claims. A claim whose messages are all extended gets one new lease; of a claim that is
-- extended in part, each of these messages gets a lease of its own.
--
-- KEYS   lease solo left owner
-- ARGV   lease in milliseconds, then for each claim: token, count of ids, the ids
-- Returns one character an id: H held, L lost.

local lease, solo, left, owner = unpack(KEYS)

-- A server without memory refuses ZADD as the first write of a script, but not after one that
-- frees; so a claim can be extended for as long as its task runs. No id is empty.
redis.call('ZCARD', lease)
local apart = redis.call('ZCARD', solo) > 0
redis.call('HDEL', owner, '')

local clock = redis.call('TIME')
local till = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1]))
local answer, at = {}, 2
while at <= #ARGV do
  local token, count = ARGV[at], tonumber(ARGV[at + 1])
  local owners = redis.call('HMGET', owner, unpack(ARGV, at + 2, at + 1 + count))
  local held, seen = {}, {}
  for i = 1, count do
    local id, mine = ARGV[at + 1 + i], owners[i] == token
    answer[#answer + 1] = mine and 'H' or 'L'
    if mine and not seen[id] then
      seen[id] = true
      held[#held + 1] = id
    end
  end
  if #held > 0 then
    if #held == tonumber(redis.call('HGET', left, token) or 0) then
      redis.call('ZADD', lease, till, token)
      if apart then redis.call('ZREM', solo, unpack(held)) end
    else
      local leases = {}
      for i = 1, #held do
        leases[2 * i - 1] = till
        leases[2 * i] = held[i]
      end
      redis.call('ZADD', solo, unpack(leases))
      apart = true
    end
  end
  at = at + 2 + count
end
return table.concat(answer)
