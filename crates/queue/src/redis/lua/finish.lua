-- Takes an entry out for good.
-- ARGV  2 id  3 token, or '*' by authority of the database
-- Answers  OK | STALE | GONE | LOST
local id, token = ARGV[2], ARGV[3]
if lost() then return { 'LOST' } end
local target, refusal = admit(id, token)
if not target then return refusal end
lift(target, id)
redis.call('HDEL', JOB, id)
settle(target, id)
wake()
return { 'OK' }
