-- A stream that was seeded from the log takes the channel's place, unless that goes on beyond it.
-- KEYS: stream, sizes, seeded stream, its sizes. Answers 1; 0: the channel has moved on; -1: the seeded one is gone.
local function head(stream, sizes)
  if redis.call('EXISTS', stream) == 0 then return '0-0' end
  local newest = redis.call('LINDEX', sizes, -1)
  if newest then return string.match(newest, '^(%S+)') end
  local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or '0-0'
end
local seeded, present = head(KEYS[3], KEYS[4]), head(KEYS[1], KEYS[2])
if seeded == '0-0' then return -1 end
-- Numbers of up to 19 digits: the longer one is the larger one, and doubles would not tell them all apart.
local function beyond(one, other)
  if #one ~= #other then return #one > #other end
  return one > other
end
local t1, e1 = string.match(present, '^(%d+)-(%d+)$')
local t2, e2 = string.match(seeded, '^(%d+)-(%d+)$')
if beyond(t1, t2) or (t1 == t2 and beyond(e1, e2)) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('RENAME', KEYS[3], KEYS[1])
redis.call('RENAME', KEYS[4], KEYS[2])
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
return 1
