-- What was moved on another operator's network is counted apart. What was counted before was not told apart: it counts as
-- moved at home.
ALTER TABLE usage RENAME TO usage_before;
CREATE TABLE usage (
  day INTEGER NOT NULL,
  app TEXT NOT NULL,
  class TEXT NOT NULL,
  bearer TEXT NOT NULL,
  roaming INTEGER NOT NULL CHECK (roaming IN (0, 1)),
  bytes_up INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL,
  dropped_up INTEGER NOT NULL,
  dropped_down INTEGER NOT NULL,
  flows INTEGER NOT NULL,
  flow_ms INTEGER NOT NULL,
  PRIMARY KEY (day, app, class, bearer, roaming)
) STRICT, WITHOUT ROWID;
INSERT INTO usage
  SELECT day, app, class, bearer, 0, bytes_up, bytes_down, dropped_up, dropped_down, flows, flow_ms FROM usage_before;
DROP TABLE usage_before;
