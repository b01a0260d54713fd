DROP TRIGGER blocks_guard_truncate ON blocks;
DROP TRIGGER link_events_guard_truncate ON link_events;
DROP TRIGGER links_guard_truncate ON links;
DROP FUNCTION truncate_guard();
