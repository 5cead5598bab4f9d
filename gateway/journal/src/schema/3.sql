-- The records of one app, newest first, without going over all others. What was erased belongs to no app and is not in it.
CREATE INDEX records_by_app ON records (app) WHERE app IS NOT NULL;
