-- Where entries stand.
-- ARGV  2.. ids
-- Answers  OK and for each id: absent, leased, delayed, pending or adrift | LOST
if lost() then return { 'LOST' } end
local lists = {}

-- One read of a target's list serves all ids that are asked about.
local function pending(target, id)
  if not lists[target] then
    lists[target] = {}
    for _, member in ipairs(redis.call('LRANGE', PEND .. target, 0, -1)) do
      lists[target][member] = true
    end
  end
  return lists[target][id]
end

local answer = { 'OK' }
for i = 2, #ARGV do
  local id, place = ARGV[i], 'adrift'
  local target = known(id)
  if not target then
    place = 'absent'
  elseif redis.call('ZSCORE', LEASES, id) then
    place = 'leased'
  elseif redis.call('ZSCORE', DELAYED, id) then
    place = 'delayed'
  elseif pending(target, id) then
    place = 'pending'
  end
  answer[#answer + 1] = place
end
return answer
