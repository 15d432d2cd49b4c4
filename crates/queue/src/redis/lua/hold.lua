-- Records what the database says is running.
-- ARGV  2 id  3 target  4 token  5 lease in ms
-- Answers  OK | LOST
if lost() then return { 'LOST' } end
hold(ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]))
return { 'OK' }
