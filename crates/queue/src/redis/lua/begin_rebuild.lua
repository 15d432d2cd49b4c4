-- Takes the rebuild lock, unless there is nothing to rebuild or another process holds it.
-- ARGV  2 the caller
-- Answers  OK | NO
if not lost() then return { 'NO' } end
if redis.call('SET', REBUILD, ARGV[2], 'NX', 'PX', REBUILD_LOCK_MS) then return { 'OK' } end
return { 'NO' }
