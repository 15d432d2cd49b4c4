-- Adds an entry to its target's list.
-- ARGV  2 id  3 target  4 most entries of the index  5 '1' to pass that cap
-- Answers  OK | DUPLICATE | FULL | LOST
local id, target, cap, force = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if lost() then return { 'LOST' } end
if redis.call('HEXISTS', JOB, id) == 1 then return { 'DUPLICATE' } end
if force ~= '1' and redis.call('HLEN', JOB) >= cap then return { 'FULL' } end
if add(id, target) then wake() end
return { 'OK' }
