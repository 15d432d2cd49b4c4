-- Adds entries to their targets' lists; one that is known already only gets this priority.
-- ARGV  2 most entries of the index  3 '1' to pass that cap  4.. id, target and priority, in turn
-- Answers  OK and for each: ADDED, its place in the target's list, the target's state | DUPLICATE or
--          FULL, and two empty words; or LOST
if lost() then return { 'LOST' } end
local cap, force = tonumber(ARGV[2]), ARGV[3] == '1'

local function enqueue(id, target, rank)
  local its_target, its_rank = known(id)
  if its_target then
    if its_rank ~= rank then
      know(id, its_target, rank)
      settle(its_target, '')
    end
    return 'DUPLICATE', '', ''
  end
  if not force and redis.call('HLEN', JOB) >= cap then return 'FULL', '', '' end
  if add(id, target, rank) then wake() end
  local place = redis.call('LPOS', PEND .. target, id, 'RANK', -1) + 1
  return 'ADDED', tostring(place), redis.call('HGET', STATE, target) or ''
end

local answer = { 'OK' }
for i = 4, #ARGV - 2, 3 do
  local outcome, place, state = enqueue(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  answer[#answer + 1] = outcome
  answer[#answer + 1] = place
  answer[#answer + 1] = state
end
return answer
