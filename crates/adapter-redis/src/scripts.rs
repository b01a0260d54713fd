//! Lua scripts. Redis runs each of them in one step, without other commands in between.

/// Writes an entry unless there is a newer one. A whole entry replaces one of the same generation that is not whole.
/// Anything else under the key is replaced.
///
/// `KEYS[1]`: the key. `ARGV`: the generation, the entry, its time to live in milliseconds, and until when it may be
/// written, in milliseconds since 1970, or 0 for no limit.
pub(crate) const WRITE: &str = "\
if ARGV[4] ~= '0' then
    local time = redis.call('TIME')
    if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[4]) then
        return 0
    end
end
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
    local known, given = tonumber(string.match(held, '^%d+')), tonumber(ARGV[1])
    if known and (known > given or known == given and string.find(held, ' ', 1, true)) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Reads the current epoch, begins one if there is none, or holds one.
///
/// `KEYS[1]`: the key. `ARGV`: `look`, `begin` or `hold`; the epoch; the time up to which all changes are in it; how
/// long it outlives that time; both in milliseconds. Returns the epoch (empty if there is none), the time up to which
/// it is held, and the current time.
pub(crate) const EPOCH: &str = "\
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local held, epoch, held_until = redis.pcall('GET', KEYS[1]), nil, nil
if type(held) == 'string' then
    epoch, held_until = string.match(held, '^(%S+) (%d+)$')
    -- Over, or held until a time in the future: then a clock was set back, and changes since may be missing.
    if epoch and (held_until + ARGV[4] <= tonumber(now) or tonumber(held_until) > tonumber(now)) then
        epoch, held_until = nil, nil
    end
end
if ARGV[1] == 'begin' and not epoch then
    epoch, held_until = ARGV[2], now
    redis.call('SET', KEYS[1], epoch .. ' ' .. held_until, 'PX', ARGV[4])
elseif ARGV[1] == 'hold' and epoch == ARGV[2] and tonumber(ARGV[3]) > tonumber(held_until) then
    held_until = ARGV[3]
    redis.call('SET', KEYS[1], epoch .. ' ' .. held_until, 'PXAT', string.format('%.0f', held_until + ARGV[4]))
end
return {epoch or '', held_until or '0', now}";

/// Charges quotas: all of them, or none if one has too little left. The generic cell rate algorithm: a quota is stored
/// as the time at which it is whole again.
///
/// `KEYS`: the quotas. `ARGV[1]`: `draw`, or `settle` to charge whatever is left. Then for each key: the time until one
/// unit comes back, the time until all of the quota comes back, and how much is charged, negative if it is put back.
/// Times are in microseconds. Returns the number of the refused quota, from 1, or 0 if none was refused; then for each
/// quota the time until it is whole.
pub(crate) const CHARGE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refused, before, after = 0, {}, {}
for i, key in ipairs(KEYS) do
    local interval, refill, amount = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local held = redis.pcall('GET', key)
    local whole = type(held) == 'string' and tonumber(held) or now
    -- At most ten times the refill: a clock was set back, or too much was admitted while nothing was counted.
    before[i] = math.max(now, math.min(whole, now + 10 * refill))
    after[i] = math.max(now, before[i] + interval * amount)
    if refused == 0 and ARGV[1] == 'draw' and amount > 0 and after[i] > now + refill then
        refused = i
    end
end
local told = {refused}
for i, key in ipairs(KEYS) do
    local whole = before[i]
    if refused == 0 then
        whole = after[i]
        redis.call('SET', key, string.format('%.0f', whole), 'PX', string.format('%.0f', (whole - now) / 1000 + 1))
    end
    told[i + 1] = math.ceil(whole - now)
end
return told";

/// Notes that a process is live, and counts the live ones.
///
/// `KEYS[1]`: the key. `ARGV`: the name of the process, and for how many milliseconds it counts as live.
pub(crate) const PRESENCE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
    redis.call('DEL', KEYS[1])
end
-- Remove what has a time in the future: a clock was set back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])";
