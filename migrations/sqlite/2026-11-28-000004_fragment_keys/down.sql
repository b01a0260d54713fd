DROP TABLE unfinished_upgrades;
