-- Leases the next entry that may run to each token: of the most urgent priority that has a ready
-- target, unless a lower one was passed over too often.
-- ARGV  2 lease in ms  3 most leases at once  4 claims in a row that may pass one over  5.. tokens
-- Answers  why there are no more  what belongs to that  and  token-from-1 id target priority
--          for each token that has one now, where the first two are one of
--          OK 0 | EMPTY ms-until-the-next-delayed-entry-or-minus-1 | BUSY 0
--          or  LOST  alone
local ttl_ms, running_max, passed_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST = 5
local BATCH = 100
if lost() then return { 'LOST' } end
local now = now_ms()

-- An answer may have been lost on its way: the same token gets the same entry. With that the index
-- is only looked at for the others.
local answer, others = { 'OK', '0' }, {}
local function give(place, id, target, rank)
  for _, word in ipairs({ tostring(place), id, target, rank }) do table.insert(answer, word) end
end
for place = 1, #ARGV - FIRST + 1 do
  local mine = redis.call('HGET', TOKENS, 't:' .. ARGV[place + FIRST - 1])
  local target, rank
  if mine then target, rank = known(mine) end
  if target then
    redis.call('ZADD', LEASES, now + ttl_ms, mine)
    give(place, mine, target, rank)
  else
    table.insert(others, place)
  end
end
if #others == 0 then return answer end

-- Puts back those whose time has come, the oldest deployment first.
local function put_back(set)
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, BATCH)
  table.sort(due, function(a, b) return tonumber(a) < tonumber(b) end)
  for _, id in ipairs(due) do
    local target = known(id)
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

-- The oldest entry of a target; ids that the index does not know are dropped on the way.
local function take(target)
  for _ = 1, BATCH do
    local id = redis.call('LPOP', PEND .. target)
    if not id or known(id) == target then return id end
  end
  return false
end

-- The priority whose turn it is: the one that was passed over most often, if that was too often,
-- else the most urgent one. Nothing when no target is ready.
local function next_rank()
  local urgent, due, most = nil, nil, passed_max - 1
  for _, rank in ipairs(RANKS) do
    if redis.call('LLEN', READY[rank]) > 0 then
      urgent = urgent or rank
      local passed = tonumber(redis.call('HGET', PASSED, rank) or '0')
      if passed > most then due, most = rank, passed end
    end
  end
  return due or urgent
end

-- Counts a claim of this priority as one that went past every lower one that waits.
local function pass_over(taken)
  redis.call('HDEL', PASSED, taken)
  for _, rank in ipairs(RANKS) do
    if rank > taken and redis.call('LLEN', READY[rank]) > 0 then
      redis.call('HINCRBY', PASSED, rank, 1)
    end
  end
end

-- Leases the next entry to a token, or answers why there is none and what belongs to that.
local function claim(place)
  if redis.call('ZCARD', LEASES) >= running_max then
    -- Whatever frees a lease wakes again; until then every token is stale.
    redis.call('DEL', WAKE)
    return 'BUSY', '0'
  end
  for _ = 1, BATCH do
    local rank = next_rank()
    if not rank then
      -- Nothing is ready, so every token is stale and nobody is passed over.
      redis.call('DEL', WAKE, PASSED)
      local first = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
      local wait = first[2] and math.max(0, tonumber(first[2]) - now) or -1
      return 'EMPTY', string.format('%.0f', wait)
    end
    local target = redis.call('LPOP', READY[rank])
    if redis.call('HGET', STATE, target) == 'R' .. rank then
      redis.call('HDEL', STATE, target)
      local id = take(target)
      if id then
        local _, its_rank = known(id)
        lease(id, ARGV[place + FIRST - 1], ttl_ms)
        redis.call('HSET', STATE, target, 'B:' .. id)
        pass_over(rank)
        give(place, id, target, its_rank)
        return
      end
      settle(target, '')
    end
  end
  return 'EMPTY', '0'
end

for _, place in ipairs(others) do
  local why, what = claim(place)
  if why then
    answer[1], answer[2] = why, what
    break
  end
end
return answer
