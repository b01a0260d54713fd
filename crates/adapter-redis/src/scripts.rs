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

/// Looks which era it is, begins one if there is none, or holds one.
///
/// `KEYS[1]`: the key. `ARGV`: `look`, `begin` or `hold`; the era; until when everything is in it; how long it outlives
/// that; both in milliseconds. Returns the era (empty if there is none), until when it is held, and what time it is.
pub(crate) const ERA: &str = "\
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local held, era, held_until = redis.pcall('GET', KEYS[1]), nil, nil
if type(held) == 'string' then
    era, held_until = string.match(held, '^(%S+) (%d+)$')
    -- Over, or from the future: then a clock was set back, and nothing is known of the time since.
    if era and (held_until + ARGV[4] <= tonumber(now) or tonumber(held_until) > tonumber(now)) then
        era, held_until = nil, nil
    end
end
if ARGV[1] == 'begin' and not era then
    era, held_until = ARGV[2], now
    redis.call('SET', KEYS[1], era .. ' ' .. held_until, 'PX', ARGV[4])
elseif ARGV[1] == 'hold' and era == ARGV[2] and tonumber(ARGV[3]) > tonumber(held_until) then
    held_until = ARGV[3]
    redis.call('SET', KEYS[1], era .. ' ' .. held_until, 'PXAT', string.format('%.0f', held_until + ARGV[4]))
end
return {era or '', held_until or '0', now}";
