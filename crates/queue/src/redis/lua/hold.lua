-- Records what the database says is running.
-- ARGV  2 id  3 target  4 priority  5 token  6 lease in ms
-- Answers  OK | LOST
if lost() then return { 'LOST' } end
hold(ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]))
return { 'OK' }
