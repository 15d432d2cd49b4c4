-- How many entries there are.
-- Answers  OK and the number | LOST
if lost() then return { 'LOST' } end
return { 'OK', tostring(redis.call('HLEN', JOB)) }
