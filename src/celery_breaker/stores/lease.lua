-- Takes or renews one of LIMIT places; replies with nothing if it is held, else with the ms until one runs out.
-- KEYS: lease (a sorted set, holder -> expiry in ms by the server's clock).
-- ARGV: holder, limit, ttl in ms.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local removed = redis.pcall("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
if type(removed) == "table" then redis.call("DEL", KEYS[1]) end -- an error: the key held something else
local over = redis.call("ZCARD", KEYS[1]) - tonumber(ARGV[2])
if over >= 0 and not redis.call("ZSCORE", KEYS[1], ARGV[1]) then
  local next = redis.call("ZRANGE", KEYS[1], over, over, "WITHSCORES")
  return {tonumber(next[2]) - now}
end
redis.call("ZADD", KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
local last = redis.call("ZRANGE", KEYS[1], -1, -1, "WITHSCORES")
redis.call("PEXPIRE", KEYS[1], math.max(1, math.ceil(tonumber(last[2]) - now)))
return {}
