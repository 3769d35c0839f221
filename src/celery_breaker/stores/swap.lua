-- Writes a record if its stored version is the expected one. KEYS: record. ARGV: expected version, record.
-- The value is "VERSION RECORD", so that one GET reads both.
local stored = redis.call("GET", KEYS[1])
local version = stored and tonumber(string.match(stored, "^(%d+) ")) or 0
if version ~= tonumber(ARGV[1]) then return 0 end
redis.call("SET", KEYS[1], string.format("%.0f", version + 1) .. " " .. ARGV[2])
return 1
