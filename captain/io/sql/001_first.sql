-- SPDX-License-Identifier: Apache-2.0
-- Captain's tables. All but log can be rebuilt: release, channel from the log; device* and event from
-- the devices and the stream EVENTS.

-- The decision log's own copy. Append-only, without gaps.
CREATE TABLE log (
    seq     INTEGER PRIMARY KEY,
    hash    BLOB NOT NULL CHECK (length(hash) = 32),
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    entry   BLOB NOT NULL
) STRICT;
CREATE INDEX log_kind ON log (kind, seq);
CREATE INDEX log_subject ON log (subject, seq);

CREATE TRIGGER log_grows_by_one BEFORE INSERT ON log
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM log)
BEGIN
    SELECT raise(ABORT, 'the log grows by one entry at a time');
END;
CREATE TRIGGER log_is_not_edited BEFORE UPDATE ON log
BEGIN
    SELECT raise(ABORT, 'the log is append-only');
END;
CREATE TRIGGER log_is_not_cut BEFORE DELETE ON log
BEGIN
    SELECT raise(ABORT, 'the log is append-only');
END;

CREATE TABLE release (
    id         INTEGER PRIMARY KEY,
    digest     BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    app        TEXT NOT NULL,
    version    TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    decision   INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    envelope   BLOB NOT NULL,
    UNIQUE (app, version),
    UNIQUE (app, sequence)
) STRICT;
CREATE TRIGGER release_is_immutable BEFORE UPDATE ON release
BEGIN
    SELECT raise(ABORT, 'a release is immutable');
END;

CREATE TABLE channel (
    app         TEXT NOT NULL,
    channel     TEXT NOT NULL,
    digest      BLOB NOT NULL REFERENCES release (digest),
    base_digest BLOB REFERENCES release (digest),
    since_ms    INTEGER NOT NULL,
    set_by      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    decision    INTEGER NOT NULL,
    generation  INTEGER NOT NULL DEFAULT 0,
    issued_ms   INTEGER NOT NULL DEFAULT 0,
    desired     BLOB,
    unsent      INTEGER NOT NULL DEFAULT 0 CHECK (unsent IN (0, 1)),
    PRIMARY KEY (app, channel)
) STRICT;
CREATE INDEX channel_unsent ON channel (app, channel) WHERE unsent = 1;

CREATE TABLE device (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    first_seen_ms INTEGER NOT NULL
) STRICT;
-- Narrow: rewritten in batches, all day.
CREATE TABLE device_seen (
    id           INTEGER PRIMARY KEY REFERENCES device (id),
    last_seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE device_garbage (
    id    INTEGER PRIMARY KEY REFERENCES device (id),
    count INTEGER NOT NULL
) STRICT;
CREATE TABLE device_health (
    id     INTEGER PRIMARY KEY REFERENCES device (id),
    health BLOB NOT NULL
) STRICT;
CREATE TABLE device_telemetry (
    id          INTEGER PRIMARY KEY REFERENCES device (id),
    received_ms INTEGER NOT NULL,
    telemetry   BLOB NOT NULL
) STRICT;

CREATE TABLE event (
    device_id INTEGER NOT NULL REFERENCES device (id),
    epoch     TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    event     BLOB NOT NULL,
    PRIMARY KEY (device_id, epoch, seq)
) STRICT, WITHOUT ROWID;
-- Counters, kept by the transaction that stores the event.
CREATE TABLE event_epoch (
    device_id INTEGER NOT NULL REFERENCES device (id),
    epoch     TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (device_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE device_events (
    id     INTEGER PRIMARY KEY REFERENCES device (id),
    epoch  TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    events INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO setting (name, value) VALUES ('events', 0);
