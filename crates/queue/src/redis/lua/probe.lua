-- Writes and reads back: a server that is full, read-only or cannot save answers PING all the same.
-- ARGV  2 nonce
-- Answers  OK | LOST
redis.call('SET', PROBE, ARGV[2], 'PX', 10000)
if redis.call('GET', PROBE) ~= ARGV[2] then
  return redis.error_reply('READONLY the probe did not read back what it wrote')
end
if lost() then return { 'LOST' } end
return { 'OK' }
