-- Adds an entry during a rebuild.
-- ARGV  2 the caller  3 id  4 target  5 priority  6 token, or '' for an entry that waits
--       7 lease in ms
-- Answers  OK | LOST (here: the caller no longer holds the rebuild lock)
local id, target, rank, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if redis.call('GET', REBUILD) ~= ARGV[2] then return { 'LOST' } end
redis.call('PEXPIRE', REBUILD, REBUILD_LOCK_MS)
if redis.call('HEXISTS', JOB, id) == 0 then
  if token == '' then
    add(id, target, rank)
  else
    hold(id, target, rank, token, tonumber(ARGV[7]))
  end
end
return { 'OK' }
