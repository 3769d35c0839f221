-- Adds entries to a journal and keeps the latest. KEYS: journal (a list, the latest first).
-- ARGV: how many to keep, ttl in seconds, entries in order.
for i = 3, #ARGV do
  local pushed = redis.pcall("LPUSH", KEYS[1], ARGV[i])
  if type(pushed) == "table" then -- an error: the key held something else
    redis.call("DEL", KEYS[1])
    redis.call("LPUSH", KEYS[1], ARGV[i])
  end
end
redis.call("LTRIM", KEYS[1], 0, ARGV[1] - 1)
redis.call("EXPIRE", KEYS[1], ARGV[2])
return {}
