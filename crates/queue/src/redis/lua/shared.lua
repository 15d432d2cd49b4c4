-- Put in front of every script: the keys by name, and the moves that several scripts make.
--
-- KEYS  1 epoch  2 job  3 ready  4 state  5 delayed  6 leases  7 tokens  8 wake  9 rebuild  10 probe
--       (types and contents: keys.rs)
-- ARGV  1 what the name of every target's list begins with; each script documents the rest
--
-- Every script answers a list of strings, the first of which says what happened. LOST is always
-- possible: there is no epoch, so the server has lost its data since the last rebuild.

local EPOCH, JOB, READY, STATE, DELAYED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local LEASES, TOKENS, WAKE, REBUILD, PROBE = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local PEND = ARGV[1]

local WAKE_TOKENS_MAX = 64
local REBUILD_LOCK_MS = 15000

local function lost()
  return redis.call('EXISTS', EPOCH) == 0
end

-- The server's clock is the only one that all workers share.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A token means "look again", so more of them than there are workers say nothing new.
local function wake()
  if redis.call('LLEN', READY) > 0 and redis.call('LLEN', WAKE) < WAKE_TOKENS_MAX then
    redis.call('RPUSH', WAKE, '1')
  end
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
-- ready when it has entries and unknown when it has none. True if it became ready.
local function settle(target, id)
  local state = redis.call('HGET', STATE, target)
  local waiting = redis.call('EXISTS', PEND .. target) == 1
  if not state or state == 'B:' .. id or state == 'H:' .. id then
    if waiting then
      redis.call('HSET', STATE, target, 'R')
      redis.call('RPUSH', READY, target)
      return true
    end
    redis.call('HDEL', STATE, target)
  elseif state == 'R' and not waiting then
    redis.call('HDEL', STATE, target)
    redis.call('LREM', READY, 0, target)
  end
  return false
end

-- Gives a target a holder, and takes it out of the round if it was in it.
local function occupy(target, holder)
  if redis.call('HGET', STATE, target) == 'R' then
    redis.call('LREM', READY, 0, target)
  end
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
  local target = redis.call('HGET', JOB, id)
  if not target then return nil, { 'GONE' } end
  if token ~= '*' and redis.call('HGET', TOKENS, id) ~= token then
    return nil, { 'STALE' }
  end
  return target
end

-- Adds an entry that is not known yet. True if its target became ready.
local function add(id, target)
  redis.call('HSET', JOB, id, target)
  insert(target, id)
  return settle(target, id)
end

local function lease(id, token, ttl_ms)
  redis.call('HSET', TOKENS, id, token, 't:' .. token, id)
  redis.call('ZADD', LEASES, now_ms() + ttl_ms, id)
end

-- Makes an entry the running one of its target, wherever it stood and whoever held the target.
local function hold(id, target, token, ttl_ms)
  redis.call('HSET', JOB, id, target)
  lift(target, id)
  lease(id, token, ttl_ms)
  occupy(target, 'B:' .. id)
end

