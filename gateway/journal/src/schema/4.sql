-- What the user signed off to be permitted by itself, and how much of it was used.
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  app TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  digest TEXT NOT NULL,
  grants TEXT NOT NULL,
  signed_off_at INTEGER NOT NULL,
  usage TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_by_app ON schedules (app);
