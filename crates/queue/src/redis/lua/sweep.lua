-- Deletes a part of what is left of the old index. Runs only under the caller's rebuild lock, so
-- that a process which was too slow cannot delete what the next one has built.
-- ARGV  2 the caller  3 cursor  4 pattern of all keys of the index
-- Answers  OK and the next cursor, '0' at the end | LOST
if redis.call('GET', REBUILD) ~= ARGV[2] then return { 'LOST' } end
redis.call('PEXPIRE', REBUILD, REBUILD_LOCK_MS)
local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[4], 'COUNT', 500)
for _, key in ipairs(page[2]) do
  if key ~= REBUILD and key ~= PROBE then redis.call('UNLINK', key) end
end
return { 'OK', page[1] }
