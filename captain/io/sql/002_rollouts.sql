-- SPDX-License-Identifier: Apache-2.0
-- Rollouts, what operators say of channels and devices beside releases. All but rollout_input can be
-- rebuilt from the log; those are what devices did, in the order in which captain took it.

-- A channel whose first release no rollout has brought to its end yet: digest is what is tried.
ALTER TABLE channel ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 0 CHECK (unsettled IN (0, 1));

CREATE TABLE rollout (
    id          TEXT PRIMARY KEY,
    app         TEXT NOT NULL,
    channel     TEXT NOT NULL,
    digest      BLOB NOT NULL REFERENCES release (digest),
    base_digest BLOB REFERENCES release (digest),
    policy_name TEXT NOT NULL,
    policy      TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    supersedes  TEXT NOT NULL,
    started_by  TEXT NOT NULL,
    reason      TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    ended_ms    INTEGER NOT NULL DEFAULT 0,
    state       TEXT NOT NULL DEFAULT 'pending',
    decision    INTEGER NOT NULL,
    effects     INTEGER NOT NULL DEFAULT 0, -- number of the newest one in the log
    published   INTEGER NOT NULL DEFAULT 0, -- decision of the last rollout.published
    to_base     INTEGER NOT NULL DEFAULT 0 CHECK (to_base IN (0, 1)),
    wave        INTEGER NOT NULL DEFAULT 0,
    cut         INTEGER NOT NULL DEFAULT 0,
    cohort      BLOB
) STRICT;
CREATE INDEX rollout_channel ON rollout (app, channel, decision);
CREATE INDEX rollout_decision ON rollout (decision);
CREATE INDEX rollout_live ON rollout (decision) WHERE ended_ms = 0;

CREATE TABLE rollout_input (
    rollout TEXT NOT NULL REFERENCES rollout (id),
    number  INTEGER NOT NULL,
    input   BLOB NOT NULL,
    PRIMARY KEY (rollout, number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER rollout_input_grows_by_one BEFORE INSERT ON rollout_input
WHEN NEW.number <> (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = NEW.rollout)
BEGIN
    SELECT raise(ABORT, 'the inputs of a rollout grow by one at a time');
END;

CREATE TABLE channel_policy (
    app      TEXT NOT NULL,
    channel  TEXT NOT NULL,
    name     TEXT NOT NULL,
    policy   TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    set_by   TEXT NOT NULL,
    decision INTEGER NOT NULL,
    PRIMARY KEY (app, channel)
) STRICT, WITHOUT ROWID;

-- What an operator says of one device, and the signed document that tells it so.
CREATE TABLE device_set (
    device     TEXT PRIMARY KEY,
    body       BLOB NOT NULL,
    decision   INTEGER NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    issued_ms  INTEGER NOT NULL DEFAULT 0,
    desired    BLOB,
    unsent     INTEGER NOT NULL DEFAULT 0 CHECK (unsent IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX device_set_unsent ON device_set (device) WHERE unsent = 1;

CREATE TABLE site (
    site     TEXT PRIMARY KEY,
    windows  TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    set_by   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO setting (name, value) VALUES ('frozen', 0);
