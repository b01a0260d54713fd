DROP TABLE link_events;
DROP TABLE links;
DROP FUNCTION link_events_guard();
DROP FUNCTION links_guard();
