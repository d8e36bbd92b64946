-- Removes names from a shelf whose notes have ended, or were removed by somebody else.
--
-- KEYS   the names of the shelf, its ends, then the notes
-- ARGV   the name of each note
-- Returns how many were removed.

local gone = {}
for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[2 + i]) == 0 then gone[#gone + 1] = ARGV[i] end
end
if #gone == 0 then return 0 end
redis.call('ZREM', KEYS[2], unpack(gone))
return redis.call('ZREM', KEYS[1], unpack(gone))
