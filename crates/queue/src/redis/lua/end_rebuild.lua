-- Ends a rebuild: claims work again.
-- ARGV  2 the caller  3 the new epoch
-- Answers  OK | LOST (the caller no longer holds the lock, and nobody else has finished either)
if redis.call('GET', REBUILD) == ARGV[2] then
  redis.call('SET', EPOCH, ARGV[3])
  redis.call('DEL', REBUILD)
  for _ = 1, math.min(ready(), WAKE_TOKENS_MAX) do wake() end
  return { 'OK' }
end
if lost() then return { 'LOST' } end
return { 'OK' }
