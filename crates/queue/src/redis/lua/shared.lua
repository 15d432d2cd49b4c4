-- Put in front of every script: the keys by name, and the moves that several scripts make.
--
-- KEYS  1 epoch  2 job  3 state  4 delayed  5 leases  6 tokens  7 wake  8 rebuild  9 probe
--       10 passed  11.. ready, one for each priority (types and contents: keys.rs)
-- ARGV  1 what the name of every target's list begins with; each script documents the rest
--
-- Every script answers a list of strings, the first of which says what happened. LOST is always
-- possible: there is no epoch, so the server has lost its data since the last rebuild.

local EPOCH, JOB, STATE, DELAYED, LEASES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local TOKENS, WAKE, REBUILD, PROBE, PASSED = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local PEND = ARGV[1]
-- Priorities, the most urgent first, and the list of ready targets of each.
local RANKS = { '0', '1', '2' }
local READY = { ['0'] = KEYS[11], ['1'] = KEYS[12], ['2'] = KEYS[13] }

local WAKE_TOKENS_MAX = 64
local REBUILD_LOCK_MS = 5000

local function lost()
  return redis.call('EXISTS', EPOCH) == 0
end

-- The server's clock is the only one that all workers share.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- How many targets are ready.
local function ready()
  local targets = 0
  for _, rank in ipairs(RANKS) do targets = targets + redis.call('LLEN', READY[rank]) end
  return targets
end

-- A token means "look again", so more of them than there are workers say nothing new.
local function wake()
  if ready() > 0 and redis.call('LLEN', WAKE) < WAKE_TOKENS_MAX then
    redis.call('RPUSH', WAKE, '1')
  end
end

-- Target and priority of an entry, or nothing when it is not known. One value holds both, so that
-- neither can be lost alone.
local function known(id)
  local value = redis.call('HGET', JOB, id)
  if not value then return nil end
  local target, rank = string.match(value, '^(.-):(.*)$')
  if not READY[rank] then return target or value, '1' end
  return target, rank
end

-- The state of a target that may run: in the round of its first entry's priority. Nothing when
-- none of its entries waits.
local function ready_state(target)
  local first = redis.call('LINDEX', PEND .. target, 0)
  if not first then return false end
  local _, rank = known(first)
  return 'R' .. (rank or '1')
end

-- The round that a target with this state is in, or nothing.
local function round_of(state)
  return state and string.sub(state, 1, 1) == 'R' and READY[string.sub(state, 2)]
end

local function leave_round(target, state)
  local round = round_of(state)
  if round then redis.call('LREM', round, 0, target) end
end

local function join_round(target, state)
  redis.call('HSET', STATE, target, state)
  redis.call('RPUSH', round_of(state), target)
end

-- Inserts into a target's list, which rises by id. New entries belong at the tail, returning ones
-- at the head, so the walk in between is rare; it starts from the tail.
local function insert(target, id)
  local list, number = PEND .. target, tonumber(id)
  local last = redis.call('LINDEX', list, -1)
  if not last or tonumber(last) < number then
    return redis.call('RPUSH', list, id)
  end
  if number < tonumber(redis.call('LINDEX', list, 0)) then
    return redis.call('LPUSH', list, id)
  end
  local stop = -1
  while true do
    local chunk = redis.call('LRANGE', list, stop - 99, stop)
    if #chunk == 0 then return end
    for i = #chunk, 1, -1 do
      if chunk[i] == id then return end
      if tonumber(chunk[i]) < number then
        return redis.call('LINSERT', list, 'AFTER', chunk[i], id)
      end
    end
    stop = stop - 100
  end
end

-- Brings a target's state in line after `id` has moved: if nobody else holds the target it is
-- ready when it has entries and unknown when it has none. A target whose next entry has another
-- priority changes rounds. True if it became ready.
local function settle(target, id)
  local state = redis.call('HGET', STATE, target)
  local free = not state or state == 'B:' .. id or state == 'H:' .. id
  if not free and not round_of(state) then return false end
  local right = ready_state(target)
  if state == right then return false end
  leave_round(target, state)
  if right then
    join_round(target, right)
  else
    redis.call('HDEL', STATE, target)
  end
  return free and right ~= false
end

-- Gives a target a holder, and takes it out of the round if it was in it.
local function occupy(target, holder)
  leave_round(target, redis.call('HGET', STATE, target))
  redis.call('HSET', STATE, target, holder)
end

local function drop_token(id)
  local token = redis.call('HGET', TOKENS, id)
  if not token then return end
  redis.call('HDEL', TOKENS, id)
  if redis.call('HGET', TOKENS, 't:' .. token) == id then
    redis.call('HDEL', TOKENS, 't:' .. token)
  end
end

-- Takes an entry from where it stands; it stays known. It stands in one place only, so a target's
-- list is searched only when the cheaper places do not have it.
local function lift(target, id)
  drop_token(id)
  if redis.call('ZREM', LEASES, id) + redis.call('ZREM', DELAYED, id) == 0 then
    redis.call('LREM', PEND .. target, 1, id)
  end
end

-- The target of an entry that `token` may move ('*': by authority of the database), or nothing
-- and the answer to give instead.
local function admit(id, token)
  local target = known(id)
  if not target then return nil, { 'GONE' } end
  if token ~= '*' and redis.call('HGET', TOKENS, id) ~= token then
    return nil, { 'STALE' }
  end
  return target
end

local function know(id, target, rank)
  redis.call('HSET', JOB, id, target .. ':' .. rank)
end

-- Adds an entry that is not known yet. True if its target became ready.
local function add(id, target, rank)
  know(id, target, rank)
  insert(target, id)
  return settle(target, id)
end

local function lease(id, token, ttl_ms)
  redis.call('HSET', TOKENS, id, token, 't:' .. token, id)
  redis.call('ZADD', LEASES, now_ms() + ttl_ms, id)
end

-- Makes an entry the running one of its target, wherever it stood and whoever held the target.
local function hold(id, target, rank, token, ttl_ms)
  know(id, target, rank)
  lift(target, id)
  lease(id, token, ttl_ms)
  occupy(target, 'B:' .. id)
end

