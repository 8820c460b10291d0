-- SPDX-License-Identifier: Apache-2.0
-- Feature flags of channels, and secrets. All but secret_device and vault can be rebuilt from the log; the
-- values themselves lie sealed in the files secret/<digest>.

CREATE TABLE flag (
    app       TEXT NOT NULL,
    channel   TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    otherwise TEXT NOT NULL,
    permyriad INTEGER NOT NULL,
    salt      TEXT NOT NULL,
    set_ms    INTEGER NOT NULL,
    set_by    TEXT NOT NULL,
    decision  INTEGER NOT NULL,
    PRIMARY KEY (app, channel, name)
) STRICT, WITHOUT ROWID;

-- A removed secret stays as a row without a digest: its versions go on where they were.
CREATE TABLE secret (
    app      TEXT NOT NULL,
    name     TEXT NOT NULL,
    scope    TEXT NOT NULL,
    digest   BLOB CHECK (digest IS NULL OR length(digest) = 32),
    version  INTEGER NOT NULL,
    set_ms   INTEGER NOT NULL,
    set_by   TEXT NOT NULL,
    decision INTEGER NOT NULL,
    PRIMARY KEY (app, name, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX secret_digest ON secret (digest) WHERE digest IS NOT NULL;

-- Files that a decision has left without a name.
CREATE TABLE secret_garbage (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;

-- What one device has of the secrets that concern it. sealed is for seal_key; the same box is sent for
-- as long as neither secret nor key change, so that a device has no reason to reload its app.
CREATE TABLE secret_device (
    device     TEXT NOT NULL,
    app        TEXT NOT NULL,
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    version    INTEGER NOT NULL, -- of sealed; 0: none yet
    seal_key   BLOB,
    sealed     BLOB,
    generation INTEGER NOT NULL DEFAULT 0, -- of the document that brought it first; 0: none yet
    confirmed  INTEGER NOT NULL DEFAULT 0 CHECK (confirmed IN (0, 1)),
    PRIMARY KEY (device, app, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX secret_device_secret ON secret_device (app, name, scope, confirmed, version, device);

-- One row: what the master key in use makes of a constant. It tells another key, and nothing of this one.
CREATE TABLE vault (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    key_check BLOB NOT NULL CHECK (length(key_check) = 32)
) STRICT;
