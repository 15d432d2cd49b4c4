-- Extends leases. The token decides, not the clock: a lease that has run out but that nobody has
-- taken back is still its holder's.
-- ARGV  2 lease in ms  3.. id and token, in turn
-- Answers  OK and the ids that are no longer the caller's | LOST
if lost() then return { 'LOST' } end
local expiry, answer = now_ms() + tonumber(ARGV[2]), { 'OK' }
for i = 3, #ARGV - 1, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', TOKENS, id) == token and redis.call('HEXISTS', JOB, id) == 1 then
    redis.call('ZADD', LEASES, expiry, id)
  else
    answer[#answer + 1] = id
  end
end
return answer
