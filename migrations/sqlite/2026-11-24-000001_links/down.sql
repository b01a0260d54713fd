DROP TRIGGER link_events_guard_delete;
DROP TRIGGER link_events_guard_update;
DROP TRIGGER links_guard_delete;
DROP TRIGGER links_guard_update;
DROP TABLE link_events;
DROP TABLE links;
