-- Recomputes a target's state from where its entries stand.
-- ARGV  2 target
-- Answers  OK and '1' if something was wrong, '0' otherwise | LOST
local target = ARGV[2]
if lost() then return { 'LOST' } end
local state = redis.call('HGET', STATE, target)

-- This target's entry in a set, the recorded holder before any other. Both sets have at most about
-- one entry for each target, which bounds the walk.
local function holder(set, mark)
  local found = false
  for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
    if known(id) == target then
      if state == mark .. id then return id end
      if not found or tonumber(id) < tonumber(found) then found = id end
    end
  end
  return found
end

local right = ready_state(target)
local busy = holder(LEASES, 'B:')
local held = not busy and holder(DELAYED, 'H:')
if busy then
  right = 'B:' .. busy
elseif held then
  right = 'H:' .. held
end

local sound = state == right
for _, rank in ipairs(RANKS) do
  local rounds = #redis.call('LPOS', READY[rank], target, 'COUNT', 0)
  sound = sound and rounds == (right == 'R' .. rank and 1 or 0)
end
if sound then return { 'OK', '0' } end

for _, rank in ipairs(RANKS) do redis.call('LREM', READY[rank], 0, target) end
if round_of(right) then
  join_round(target, right)
  wake()
elseif right then
  redis.call('HSET', STATE, target, right)
else
  redis.call('HDEL', STATE, target)
end
return { 'OK', '1' }
