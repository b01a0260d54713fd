DROP TABLE orphans_day;
DROP TABLE visitor_salts;
DROP TABLE forgotten_hours;
DROP TABLE owner_days;
DROP TABLE link_days;
DROP TABLE link_totals;
DROP TABLE click_streams;
