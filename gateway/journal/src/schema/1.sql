-- Numbers that must not be given twice: the next one that is free.
CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  next INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, next) VALUES ('flow', 1), ('grant', 1), ('probe', 0), ('run', 1);

-- What the journal is known by: the hash of the first public key, in one row.
CREATE TABLE identity (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  fingerprint BLOB NOT NULL
) STRICT;

CREATE TABLE apps (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  domain TEXT NOT NULL,
  digest TEXT NOT NULL,
  signer_key TEXT,
  root TEXT,
  qos_profile TEXT,
  facts TEXT NOT NULL,
  file TEXT NOT NULL,
  installed_at INTEGER NOT NULL,
  suspended TEXT
) STRICT;

CREATE TABLE grants (
  id INTEGER PRIMARY KEY,
  app TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
  action TEXT NOT NULL,
  target TEXT,
  permission TEXT NOT NULL,
  granted_at INTEGER NOT NULL,
  expires_at INTEGER,
  deadline_boot TEXT,
  deadline_at INTEGER,
  runs TEXT NOT NULL,
  spent INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX grants_by_app ON grants (app);

CREATE TABLE roots (
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  source TEXT NOT NULL,
  subject TEXT NOT NULL,
  certificate BLOB,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (id, kind)
) STRICT;

-- The chain. app to detail are personal: erasing sets them and salt to NULL.
CREATE TABLE records (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  flow INTEGER,
  domain TEXT,
  action TEXT,
  decision TEXT,
  reason TEXT,
  grant_id INTEGER,
  rule TEXT,
  binding TEXT,
  ingress TEXT,
  class TEXT,
  bytes_up INTEGER,
  bytes_down INTEGER,
  duration_ms INTEGER,
  count INTEGER NOT NULL,
  proof BLOB,
  app TEXT,
  run INTEGER,
  target TEXT,
  addresses TEXT,
  detail TEXT,
  salt BLOB,
  commitment BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;

-- Signatures over the head of the chain, each by the key that the one before it names.
CREATE TABLE seals (
  id INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  adopted INTEGER NOT NULL,
  head BLOB NOT NULL,
  public BLOB NOT NULL,
  next BLOB NOT NULL,
  signature BLOB NOT NULL
) STRICT;

-- Where retention took records out: first to last, with the hashes before and at the end.
CREATE TABLE gaps (
  first INTEGER PRIMARY KEY,
  last INTEGER NOT NULL,
  before BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;

-- What was erased: the record that says so, and the numbers of the erased ones (8 bytes each, big-endian, ascending).
CREATE TABLE erasures (
  seq INTEGER PRIMARY KEY,
  erased BLOB NOT NULL
) STRICT;
