-- Targets that have a state.
-- Answers  OK and the targets | LOST
if lost() then return { 'LOST' } end
local answer = redis.call('HKEYS', STATE)
table.insert(answer, 1, 'OK')
return answer
