-- Fills places of sets; the first value of a place stays.
--
-- KEYS   the sets
-- ARGV   for each place: number of its set, place, lifetime of the set in milliseconds, value
-- Returns for each place how many places of its set are filled after it.
--
-- The first write adds something, so that a server without memory refuses with nothing applied.

-- Reads come before writes: a key of a foreign type stops the script while nothing is changed.
local filled, left, lifetimes = {}, {}, {}
for i = 1, #KEYS do
  filled[i] = redis.call('HLEN', KEYS[i])
  left[i] = redis.call('PTTL', KEYS[i])
  lifetimes[i] = 0
end

local answers = {}
for at = 1, #ARGV, 4 do
  local set = tonumber(ARGV[at])
  filled[set] = filled[set] + redis.call('HSETNX', KEYS[set], ARGV[at + 1], ARGV[at + 3])
  lifetimes[set] = math.max(lifetimes[set], tonumber(ARGV[at + 2]))
  answers[#answers + 1] = filled[set]
end

-- Never shortened: the parts of a whole can be kept for different times.
for i = 1, #KEYS do
  if lifetimes[i] > left[i] then
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', lifetimes[i]))
  end
end
return answers
