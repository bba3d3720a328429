-- The last tick that is wholly published. Never backwards within an epoch: a deposed leader may be late with its own.
-- KEYS: published. ARGV: epoch, tick, floor.
local epoch, tick, floor = string.match(redis.call('GET', KEYS[1]) or '', '^([^:]*):(%d+):(%d+)')
if epoch ~= ARGV[1] or tonumber(tick) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2] .. ':' .. ARGV[3])
elseif tick == ARGV[2] and tonumber(floor) < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. tick .. ':' .. ARGV[3])
end
return redis.status_reply('OK')
