-- Notes that an inbox waits for tasks, and returns the records of those that have ended already.
--
-- KEYS[1]    hash of waiters: id -> names of inboxes, separated by spaces
-- KEYS[2..]  where each record is stored
-- ARGV[1]    name of the inbox
-- ARGV[2]    place of the id's first byte in the key of a record
-- ARGV[3]    largest record that is returned
-- ARGV[4]    lifetime of the hash in milliseconds
-- Returns of each record: its bytes if it is final, empty bytes if it is final and too large,
-- otherwise nothing.

local FINAL = {succeeded = true, failed = true, cancelled = true, expired = true}

local largest = tonumber(ARGV[3])
local answers, ids = {}, {}
for i = 2, #KEYS do
  -- A range, because results can have many megabytes; pcall, because a key of another type must
  -- not keep the others from being told.
  local record = redis.pcall('GETRANGE', KEYS[i], 0, largest)
  if type(record) == 'string' and FINAL[string.match(record, '^%d+ %d+ (%l+) ')] then
    answers[i - 1] = #record > largest and '' or record
  else
    answers[i - 1] = false
    ids[#ids + 1] = string.sub(KEYS[i], ARGV[2])
  end
end

if #ids > 0 then
  local inbox = ARGV[1]
  local known = redis.call('HMGET', KEYS[1], unpack(ids))
  local added = {}
  for n, id in ipairs(ids) do
    if not known[n] then
      added[#added + 1] = id
      added[#added + 1] = inbox
    elseif not string.find(' ' .. known[n] .. ' ', ' ' .. inbox .. ' ', 1, true) then
      added[#added + 1] = id
      added[#added + 1] = known[n] .. ' ' .. inbox
    end
  end
  if #added > 0 then
    redis.call('HSET', KEYS[1], unpack(added))
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return answers
