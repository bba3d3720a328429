-- One publication into a channel's stream and out to its subscribers, if the stream ends where the relay believes.
-- KEYS: stream, sizes. ARGV: pub/sub channel ('': none, it is built anew from the log), expected head, id, publication, now in ms, most age in ms, most bytes.
-- Answers {1, id} when written, else {0, the head that is there}; `0-0` stands for a stream that does not exist.
local stream, sizes = KEYS[1], KEYS[2]
local live, expected, id, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now, max_age, max_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- The head is read from the list of sizes: reading the stream's last entry would copy megabytes into Lua.
local head, total = '0-0', 0
if redis.call('EXISTS', stream) == 1 then
  local newest = redis.call('LINDEX', sizes, -1)
  if newest then
    local a, b = string.match(newest, '^(%S+) %d+ %d+ (%d+)$')
    head, total = a, tonumber(b)
  else
    local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if entry then head = entry[1] end
  end
end
if head ~= expected then return {0, head} end
if head == '0-0' then redis.call('DEL', stream, sizes) end

redis.call('XADD', stream, id, 'p', data)
total = total + #data
redis.call('RPUSH', sizes, string.format('%s %d %.0f %.0f', id, #data, now, total))

-- Drop what is too old or too much, oldest first, never the newest entry, at most 64 entries a call.
local function surplus(entry)
  local bytes, at, sum = string.match(entry, '^%S+ (%d+) (%d+) (%d+)$')
  return tonumber(at) < now - max_age or total - tonumber(sum) + tonumber(bytes) > max_bytes
end
if surplus(redis.call('LINDEX', sizes, 0)) then
  local oldest = redis.call('LRANGE', sizes, 0, 64)
  local drop = 0
  while drop < #oldest - 1 and surplus(oldest[drop + 1]) do drop = drop + 1 end
  if drop > 0 then
    redis.call('XTRIM', stream, 'MINID', string.match(oldest[drop + 1], '^(%S+)'))
    redis.call('LTRIM', sizes, drop, -1)
  end
end

if live ~= '' then redis.call('PUBLISH', live, data) end
return {1, id}
