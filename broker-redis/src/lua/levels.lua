-- The start of every script that puts ids into lists of due ones.

-- Pushes ids, each into the list of its level: `levels[i]` is the letter of the level of `ids[i]`,
-- nothing if that is normal, whose letter is n.
local function push(command, lists, ids, levels)
  local parts = {}
  for i = 1, #ids do
    local list = lists[levels[i] or 'n']
    local part = parts[list]
    if not part then
      part = {}
      parts[list] = part
    end
    part[#part + 1] = ids[i]
  end
  for list, part in pairs(parts) do redis.call(command, list, unpack(part)) end
end

