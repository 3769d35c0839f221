-- Writes a record if its stored version is the expected one. KEYS: record. ARGV: expected version, record.
-- The value is "VERSION RECORD", so that one GET reads both.
-- What has no version (of at most 15 digits) counts as 0, so that garbage can be written over.
local stored = redis.pcall("GET", KEYS[1]) -- a table is an error: the key holds something else
local digits = type(stored) == "string" and string.match(stored, "^(%d+) ")
local version = digits and #digits <= 15 and tonumber(digits) or 0
if version ~= tonumber(ARGV[1]) then return 0 end
redis.call("SET", KEYS[1], string.format("%.0f", version + 1) .. " " .. ARGV[2])
return 1
