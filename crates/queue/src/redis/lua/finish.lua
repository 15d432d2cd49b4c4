-- Takes entries out for good.
-- ARGV  2.. id, and token or '*' by authority of the database, in turn
-- Answers  OK and for each: OK, STALE or GONE; or LOST
if lost() then return { 'LOST' } end

local function finish(id, token)
  local target, refusal = admit(id, token)
  if not target then return refusal[1] end
  lift(target, id)
  redis.call('HDEL', JOB, id)
  settle(target, id)
  wake()
  return 'OK'
end

local answer = { 'OK' }
for i = 2, #ARGV - 1, 2 do
  answer[#answer + 1] = finish(ARGV[i], ARGV[i + 1])
end
return answer
