-- Holds an entry back; its target stays held with it.
-- ARGV  2 id  3 token, or '*' by authority of the database  4 delay in ms
-- Answers  OK | STALE | GONE | LOST
local id, token, delay_ms = ARGV[2], ARGV[3], tonumber(ARGV[4])
if lost() then return { 'LOST' } end
local target, refusal = admit(id, token)
if not target then return refusal end
lift(target, id)
redis.call('ZADD', DELAYED, now_ms() + delay_ms, id)
local state = redis.call('HGET', STATE, target)
if not state or round_of(state) or state == 'B:' .. id or state == 'H:' .. id then
  occupy(target, 'H:' .. id)
end
wake()
return { 'OK' }
