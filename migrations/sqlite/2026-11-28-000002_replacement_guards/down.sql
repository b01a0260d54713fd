DROP TRIGGER blocks_guard_replace;
DROP TRIGGER blocks_guard_insert;
DROP TRIGGER link_events_guard_insert;
DROP TRIGGER links_guard_replace;
DROP TRIGGER links_guard_insert;
