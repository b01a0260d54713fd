//! Scripts: what Redis does in one step, whoever else is at it.

/// Writes an entry unless there is a newer one. An entry that is whole replaces one of the same generation that is
/// not. Whatever else lies under the key is replaced.
///
/// `KEYS[1]`: the key. `ARGV`: the generation, the entry, how long it is kept in milliseconds, and until when it may be
/// written, in milliseconds since 1970, or 0.
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

/// Looks which epoch it is, begins one if there is none, or holds one.
///
/// `KEYS[1]`: the key. `ARGV`: `look`, `begin` or `hold`; the epoch; until when everything is in it; how long it outlives
/// that; both in milliseconds. Returns the epoch (empty if there is none), until when it is held, and what time it is.
pub(crate) const EPOCH: &str = "\
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local held, epoch, held_until = redis.pcall('GET', KEYS[1]), nil, nil
if type(held) == 'string' then
    epoch, held_until = string.match(held, '^(%S+) (%d+)$')
    -- Over, or from the future: then a clock was set back, and nothing is known of the time since.
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

/// Draws from quotas: from all of them, or from none if one has too little left; the generic cell rate algorithm, each
/// quota as the moment at which it is whole again.
///
/// `KEYS`: the quotas. `ARGV[1]`: `draw`, or `settle` to draw whatever is left. Then for each key: how long until there
/// is one more, how long until all of it is there, and how much is drawn, negative if it is put back; times in
/// microseconds. Returns which of them was refused, or 0, and then for each how long until it is whole.
pub(crate) const METER: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refused, before, after = 0, {}, {}
for i, key in ipairs(KEYS) do
    local interval, refill, amount = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    local held = redis.pcall('GET', key)
    local whole = type(held) == 'string' and tonumber(held) or now
    -- Nobody has to wait for longer than that: a clock was set back, or too many were let in while nobody set_processes.
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

/// Says that a process is there, and how many are.
///
/// `KEYS[1]`: the key. `ARGV`: the name of the process, and for how many milliseconds it counts.
pub(crate) const PRESENCE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
    redis.call('DEL', KEYS[1])
end
-- Nobody is there from later on: a clock was set back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])";
