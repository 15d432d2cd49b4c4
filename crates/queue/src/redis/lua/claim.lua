-- Leases the next entry that may run.
-- ARGV  2 token  3 lease in ms  4 most leases at once
-- Answers  OK id target | EMPTY ms-until-the-next-delayed-entry-or-minus-1 | BUSY | LOST
local token, ttl_ms, running_max = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local BATCH = 100
if lost() then return { 'LOST' } end
local now = now_ms()

-- An answer may have been lost on its way: the same token gets the same entry.
local mine = redis.call('HGET', TOKENS, 't:' .. token)
local its_target = mine and redis.call('HGET', JOB, mine)
if its_target then
  redis.call('ZADD', LEASES, now + ttl_ms, mine)
  return { 'OK', mine, its_target }
end

-- Puts back those whose time has come, the oldest deployment first.
local function put_back(set)
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, BATCH)
  table.sort(due, function(a, b) return tonumber(a) < tonumber(b) end)
  for _, id in ipairs(due) do
    local target = redis.call('HGET', JOB, id)
    if target then
      lift(target, id)
      insert(target, id)
      if settle(target, id) then wake() end
    else
      drop_token(id)
      redis.call('ZREM', set, id)
    end
  end
end
put_back(DELAYED)
put_back(LEASES)

if redis.call('ZCARD', LEASES) >= running_max then
  -- Whatever frees a lease wakes again; until then every token is stale.
  redis.call('DEL', WAKE)
  return { 'BUSY' }
end

-- The oldest entry of a target; ids that the index does not know are dropped on the way.
local function take(target)
  for _ = 1, BATCH do
    local id = redis.call('LPOP', PEND .. target)
    if not id or redis.call('HGET', JOB, id) == target then return id end
  end
  return false
end

for _ = 1, BATCH do
  local target = redis.call('LPOP', READY)
  if not target then
    -- Nothing is ready, so every token is stale.
    redis.call('DEL', WAKE)
    local first = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
    local wait = first[2] and math.max(0, tonumber(first[2]) - now) or -1
    return { 'EMPTY', string.format('%.0f', wait) }
  end
  if redis.call('HGET', STATE, target) == 'R' then
    redis.call('HDEL', STATE, target)
    local id = take(target)
    if id then
      lease(id, token, ttl_ms)
      redis.call('HSET', STATE, target, 'B:' .. id)
      return { 'OK', id, target }
    end
    settle(target, '')
  end
end
return { 'EMPTY', '0' }
