-- The last tick that is wholly published. Never backwards within an epoch: a deposed leader may be late with its own.
-- KEYS: published. ARGV: epoch, tick, floor, 1 where what was lost is there again: the floor of the same tick goes down,
-- the tick that must be marked already (0: none): else Redis was emptied meanwhile, and nothing is marked.
local epoch, tick, floor = string.match(redis.call('GET', KEYS[1]) or '', '^([^:]*):(%d+):(%d+)')
if tonumber(ARGV[5]) > 0 and (epoch ~= ARGV[1] or tonumber(tick) < tonumber(ARGV[5])) then
  return redis.status_reply('LOST')
end
if epoch ~= ARGV[1] or tonumber(tick) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2] .. ':' .. ARGV[3])
elseif tick == ARGV[2] and (ARGV[4] == '1' or tonumber(floor) < tonumber(ARGV[3])) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. tick .. ':' .. ARGV[3])
end
return redis.status_reply('OK')
