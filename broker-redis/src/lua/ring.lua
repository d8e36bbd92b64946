-- Wakes one waiting worker.
--
-- KEYS   bell
-- Returns how many tokens the bell holds.

if redis.call('LLEN', KEYS[1]) == 0 then
  redis.call('RPUSH', KEYS[1], '1')
  redis.call('EXPIRE', KEYS[1], 30)
end
return redis.call('LLEN', KEYS[1])
