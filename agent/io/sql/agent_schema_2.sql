-- SPDX-License-Identifier: Apache-2.0
-- Version 2: attempts within rollouts, what failed before, the word of captain about this device.
ALTER TABLE app ADD COLUMN rollout        TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN attempt_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app ADD COLUMN flaps          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app ADD COLUMN excused        TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN failure        TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN space_bytes    INTEGER NOT NULL DEFAULT 0;
CREATE TABLE device (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    envelope BLOB NOT NULL
) STRICT;
