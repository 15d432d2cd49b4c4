-- Entries of the index. Beyond the limit they are drawn at random, so that a caller who comes back
-- sees all of them in the end.
-- ARGV  2 limit
-- Answers  OK and id, target, priority for each | LOST
if lost() then return { 'LOST' } end
local ids, answer = redis.call('HRANDFIELD', JOB, ARGV[2]), { 'OK' }
for _, id in ipairs(ids) do
  local target, rank = known(id)
  answer[#answer + 1] = id
  answer[#answer + 1] = target
  answer[#answer + 1] = rank
end
return answer
