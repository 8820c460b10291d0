-- SPDX-License-Identifier: Apache-2.0
-- The root chain, oldest version first. It can be rebuilt from the log.

CREATE TABLE root (
    version    INTEGER PRIMARY KEY,
    envelope   BLOB NOT NULL,
    expires_ms INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    set_by     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    decision   INTEGER NOT NULL
) STRICT;
