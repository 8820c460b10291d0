-- SPDX-License-Identifier: Apache-2.0
-- Who was let in, and who was put out. All of it can be rebuilt from the log, but expires_ms of an
-- identity, which is then 0 until the device renews.

CREATE TABLE token (
    id         TEXT PRIMARY KEY,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    site       TEXT NOT NULL,
    body       BLOB NOT NULL, -- TokenCreated, for the labels
    uses       INTEGER NOT NULL,
    used       INTEGER NOT NULL DEFAULT 0,
    approval   INTEGER NOT NULL CHECK (approval IN (0, 1)),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL,
    decision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX token_decision ON token (decision);

CREATE TABLE identity (
    device      TEXT PRIMARY KEY, -- "site/device"
    device_key  BLOB NOT NULL UNIQUE CHECK (length(device_key) = 32),
    seal_key    BLOB NOT NULL CHECK (length(seal_key) = 32),
    token       TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'revoked', 'retired')),
    enrolled_ms INTEGER NOT NULL,
    changed_ms  INTEGER NOT NULL,
    changed_by  TEXT NOT NULL,
    decision    INTEGER NOT NULL,
    hardware    TEXT NOT NULL,
    expires_ms  INTEGER NOT NULL DEFAULT 0 -- of the newest credential
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_state ON identity (state, device);

-- Keys whose credentials up to at_ms are void. The server must know one until the last of them has run
-- out (until_ms). for_good: it is never let in again.
CREATE TABLE revoked_key (
    key      BLOB PRIMARY KEY CHECK (length(key) = 32),
    name     TEXT NOT NULL, -- of the device or operator
    at_ms    INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    for_good INTEGER NOT NULL CHECK (for_good IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_key_until ON revoked_key (until_ms);

CREATE TABLE operator (
    name       TEXT PRIMARY KEY,
    role       TEXT NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    added_ms   INTEGER NOT NULL,
    added_by   TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    decision   INTEGER NOT NULL,
    removed_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO setting (name, value) VALUES ('incidents', 0);
