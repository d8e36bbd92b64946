-- Reads some dead letters, the oldest first.
--
-- KEYS   dead deadbody deadinfo
-- ARGV   lowest time of death in milliseconds or -inf, how many to skip, how many to read
-- Returns {'1' if there are more after these or else '0', then for each: id, time, info, body}.
--        Fewer come if their bodies are large.

local dead, deadbody, deadinfo = unpack(KEYS)
local skip, count, BYTES = tonumber(ARGV[2]), tonumber(ARGV[3]), 4194304

local found = redis.call('ZRANGEBYSCORE', dead, ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', skip, count + 1)
local answer, bytes, given = {'0'}, 0, 0
for i = 1, #found, 2 do
  if given == count or bytes > BYTES then
    answer[1] = '1'
    break
  end
  local id = found[i]
  local text = redis.call('HGET', deadbody, id) or ''
  given = given + 1
  bytes = bytes + #text
  answer[#answer + 1] = id
  answer[#answer + 1] = string.format('%.0f', found[i + 1])
  answer[#answer + 1] = redis.call('HGET', deadinfo, id) or ''
  answer[#answer + 1] = text
end
return answer
