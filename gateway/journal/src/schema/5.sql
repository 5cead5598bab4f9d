-- What apps moved: one row for an app, a traffic class and a bearer on a local day. `day` counts from 1970-01-01.
CREATE TABLE usage (
  day INTEGER NOT NULL,
  app TEXT NOT NULL,
  class TEXT NOT NULL,
  bearer TEXT NOT NULL,
  bytes_up INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL,
  dropped_up INTEGER NOT NULL,
  dropped_down INTEGER NOT NULL,
  flows INTEGER NOT NULL,
  flow_ms INTEGER NOT NULL,
  PRIMARY KEY (day, app, class, bearer)
) STRICT, WITHOUT ROWID;
