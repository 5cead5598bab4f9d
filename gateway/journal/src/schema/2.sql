-- What the trust store remembers beside roots, as JSON by name: the administrator, certificate configuration messages that
-- were applied, cards that were accepted, the latest time that has certainly passed.
CREATE TABLE trust (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

-- Revocation lists that were taken in while the gate ran, by the SHA-256 of their bytes.
CREATE TABLE lists (
  id TEXT PRIMARY KEY,
  der BLOB NOT NULL,
  added_at INTEGER NOT NULL
) STRICT;
