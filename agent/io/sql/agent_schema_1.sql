-- SPDX-License-Identifier: Apache-2.0
-- Version 1: what the agent knows across restarts.
CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE app (
    app                TEXT PRIMARY KEY,
    state              INTEGER NOT NULL,
    target             BLOB,
    confirmed          BLOB,
    previous           BLOB,
    refused            BLOB,
    decision           INTEGER NOT NULL,
    refused_decision   INTEGER NOT NULL,
    data_version       INTEGER NOT NULL,
    failures           INTEGER NOT NULL,
    since_ms           INTEGER NOT NULL,
    refused_code       INTEGER NOT NULL,
    reason_code        INTEGER NOT NULL,
    desired            BLOB,
    desired_generation INTEGER NOT NULL,
    attempt            TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    encoded BLOB NOT NULL
) STRICT;
CREATE TABLE process (
    app         TEXT NOT NULL,
    service     TEXT NOT NULL,
    pid         INTEGER NOT NULL,
    start_ticks INTEGER NOT NULL,
    boot_id     TEXT NOT NULL,
    PRIMARY KEY (app, service)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
