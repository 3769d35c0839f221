-- The server's time and the records of these breakers. KEYS: records.
local time = redis.call("TIME")
if #KEYS == 0 then return {time[1], time[2]} end
local reply = redis.call("MGET", unpack(KEYS))
table.insert(reply, 1, time[2])
table.insert(reply, 1, time[1])
return reply
