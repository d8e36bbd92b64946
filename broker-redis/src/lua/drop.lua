-- Part of the script that publishes: what a full queue drops.

-- Moves up to `count` waiting messages to the dead letters, the oldest of the least urgent first. What
-- waits for its time goes when nothing else waits, the first that is due first.
-- keys is {lists, the least urgent first; body, owner, meta, level, sched}.
local function drop(keys, count, put)
  local PIECE, STALE = 50, 10000 -- Bodies that are moved at once; ids of no message that are passed over.
  local dropped, stale = 0, 0

  -- Skipped are ids without a body (cancelled), and those that stand in a list a second time.
  local function move(ids, delays)
    local owners, texts = redis.call('HMGET', keys.owner, unpack(ids)), redis.call('HMGET', keys.body, unpack(ids))
    local moved, bodies, seen = {}, {}, {}
    for i = 1, #ids do
      if texts[i] and not owners[i] and not delays[i] and not seen[ids[i]] then
        seen[ids[i]] = true
        moved[#moved + 1] = ids[i]
        bodies[#moved] = texts[i]
      end
    end
    dropped = dropped + #moved
    stale = stale + #ids - #moved
    if #moved == 0 then return end
    local counts = redis.call('HMGET', keys.meta, unpack(moved))
    for _, hash in ipairs({keys.body, keys.meta, keys.level}) do redis.call('HDEL', hash, unpack(moved)) end
    put(moved, bodies, counts)
  end

  for _, list in ipairs(keys.lists) do
    while dropped < count and stale < STALE do
      local ids = redis.call('LPOP', list, math.min(count - dropped, PIECE))
      if not ids then break end
      move(ids, redis.call('ZMSCORE', keys.sched, unpack(ids)))
    end
  end
  while dropped < count and stale < STALE do
    local ids = redis.call('ZRANGE', keys.sched, 0, math.min(count - dropped, PIECE) - 1)
    if #ids == 0 then break end
    redis.call('ZREM', keys.sched, unpack(ids))
    move(ids, {})
  end
end

