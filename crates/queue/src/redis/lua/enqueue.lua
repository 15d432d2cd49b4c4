-- Adds an entry to its target's list; one that is known already only gets this priority.
-- ARGV  2 id  3 target  4 priority  5 most entries of the index  6 '1' to pass that cap
-- Answers  OK, its place in the target's list, the target's state | DUPLICATE | FULL | LOST
local id, target, rank, cap, force = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
if lost() then return { 'LOST' } end
local its_target, its_rank = known(id)
if its_target then
  if its_rank ~= rank then
    know(id, its_target, rank)
    settle(its_target, '')
  end
  return { 'DUPLICATE' }
end
if force ~= '1' and redis.call('HLEN', JOB) >= cap then return { 'FULL' } end
if add(id, target, rank) then wake() end
local place = redis.call('LPOS', PEND .. target, id, 'RANK', -1) + 1
return { 'OK', place, redis.call('HGET', STATE, target) or '' }
