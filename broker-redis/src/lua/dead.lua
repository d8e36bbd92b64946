-- Reads some dead letters, the oldest first.
--
-- KEYS   dead deadbody deadinfo
-- ARGV   lowest time of death in milliseconds (with three decimals), how many to skip, how many to read, life of dead
--        letters in milliseconds: what is older is not read, though it goes with the next that dies
-- Returns {'1' if there are more after these or else '0', then for each: id, time, info, body}.
--        Fewer come if their bodies are large.

local dead, deadbody, deadinfo = unpack(KEYS)
local skip, count, BYTES = tonumber(ARGV[2]), tonumber(ARGV[3]), 4194304

local clock = redis.call('TIME')
local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[4]) + 1
local from = string.format('%.3f', math.max(tonumber(ARGV[1]), oldest))
local found = redis.call('ZRANGEBYSCORE', dead, from, '+inf', 'WITHSCORES', 'LIMIT', skip, count + 1)
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
  answer[#answer + 1] = string.format('%.3f', found[i + 1])
  answer[#answer + 1] = redis.call('HGET', deadinfo, id) or ''
  answer[#answer + 1] = text
end
return answer
