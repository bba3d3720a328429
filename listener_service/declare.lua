-- Which channels carry a live query, unless the leader of a later term has said so: a deposed one may be late.
-- KEYS: live_queries. ARGV: term, JSON text.
local said = redis.call('GET', KEYS[1])
if said then
  local ok, found = pcall(cjson.decode, said)
  if ok and found.epoch == cjson.decode(ARGV[2]).epoch and tonumber(found.term) > tonumber(ARGV[1]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
