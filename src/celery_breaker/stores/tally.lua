-- Adds a worker's delta to a breaker's window and returns the totals. KEYS: window.
-- ARGV: span, buckets, by_calls, generation, worker, calls, failures, slow, streak, unbroken, ttl.
-- Hash fields: g generation, n calls ever, k streak, c:B f:B s:B counts of bucket B, w:B:WORKER failures.
local span, buckets, by_calls = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == "1"
local generation, worker = tonumber(ARGV[4]), ARGV[5]
local calls, failures, slow = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call("TIME")
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local key = KEYS[1]

local found = redis.pcall("HGET", key, "g")
if type(found) == "table" then -- an error: the key holds something else
  redis.call("DEL", key)
  found = nil
end
local stored = tonumber(found or -1)
if calls > 0 and stored < generation then
  redis.call("DEL", key)
  redis.call("HSET", key, "g", generation)
  stored = generation
end
local function bucket_at(count)
  local place = now
  if by_calls then place = math.max(count - 1, 0) end
  return math.floor(place * buckets / span)
end
if calls > 0 and stored == generation then
  local count = redis.call("HINCRBY", key, "n", calls)
  local bucket = string.format("%.0f", bucket_at(count))
  local counted = calls
  if by_calls then counted = math.min(calls, math.max(math.floor(span / buckets), failures, slow)) end
  redis.call("HINCRBY", key, "c:" .. bucket, counted)
  if failures > 0 then
    redis.call("HINCRBY", key, "f:" .. bucket, failures)
    redis.call("HINCRBY", key, "w:" .. bucket .. ":" .. worker, failures)
  end
  if slow > 0 then redis.call("HINCRBY", key, "s:" .. bucket, slow) end
  if ARGV[10] == "1" then
    redis.call("HINCRBY", key, "k", ARGV[9])
  else
    redis.call("HSET", key, "k", ARGV[9])
  end
  redis.call("EXPIRE", key, ARGV[11])
end

local flat = redis.call("HGETALL", key)
local current, streak = 0, 0
if stored ~= generation then
  return {time[1], time[2], 0, 0, 0, 0}
end
for i = 1, #flat, 2 do
  if flat[i] == "n" then current = tonumber(flat[i + 1]) end
  if flat[i] == "k" then streak = tonumber(flat[i + 1]) end
end
current = bucket_at(current)
local totals, seen, expired = {c = 0, f = 0, s = 0}, {}, {}
for i = 1, #flat, 2 do
  local kind, bucket, who = string.match(flat[i], "^(%l):(%d+):?(.*)$")
  if kind then
    bucket = tonumber(bucket)
    if bucket <= current - buckets or bucket > current then -- of the future: numbered by a window of another span
      expired[#expired + 1] = flat[i]
    elseif kind == "w" then
      seen[#seen + 1] = who
      seen[#seen + 1] = flat[i + 1]
    else
      totals[kind] = totals[kind] + tonumber(flat[i + 1])
    end
  end
end
if calls > 0 and #expired > 0 then
  redis.call("HDEL", key, unpack(expired, 1, math.min(#expired, 1000)))
end
local reply = {time[1], time[2], totals.c, totals.f, totals.s, streak}
for i = 1, #seen do reply[#reply + 1] = seen[i] end
return reply
