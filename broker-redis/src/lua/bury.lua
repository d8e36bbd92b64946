-- Part of every script that makes dead letters.

-- Puts messages among the dead letters: graves is {set, bodies, infos}, clock is what TIME answered, life
-- is in milliseconds and most is how many stay. What is too old or too much goes, in bounded steps.
-- Each dies a microsecond after the one before, so that they are listed in this order.
local function bury(graves, clock, life, most, ids, texts, infos)
  local TRIM = 100
  local dead, deadbody, deadinfo = unpack(graves)
  local moved, notes, scores = {}, {}, {}
  local micros = clock[1] * 1000000 + clock[2]
  for i = 1, #ids do
    moved[2 * i - 1], moved[2 * i] = ids[i], texts[i] or ''
    notes[2 * i - 1], notes[2 * i] = ids[i], infos[i]
    scores[2 * i - 1], scores[2 * i] = string.format('%.3f', (micros + i - 1) / 1000), ids[i]
  end
  redis.call('HSET', deadbody, unpack(moved))
  redis.call('HSET', deadinfo, unpack(notes))
  redis.call('ZADD', dead, unpack(scores))

  local function forget(list)
    redis.call('ZREM', dead, unpack(list))
    redis.call('HDEL', deadbody, unpack(list))
    redis.call('HDEL', deadinfo, unpack(list))
  end
  local old = redis.call('ZRANGEBYSCORE', dead, '-inf', string.format('%.0f', micros / 1000 - life), 'LIMIT', 0, TRIM)
  if #old > 0 then forget(old) end
  local excess = math.min(redis.call('ZCARD', dead) - most, #ids + TRIM)
  if excess > 0 then forget(redis.call('ZRANGE', dead, 0, excess - 1)) end
  for _, key in ipairs(graves) do redis.call('PEXPIRE', key, string.format('%.0f', life)) end
end

