-- Entries of the index. Beyond the limit they are drawn at random, so that a caller who comes back
-- sees all of them in the end.
-- ARGV  2 limit
-- Answers  OK and id, target, id, target, ... | LOST
if lost() then return { 'LOST' } end
local answer = redis.call('HRANDFIELD', JOB, ARGV[2], 'WITHVALUES')
table.insert(answer, 1, 'OK')
return answer
