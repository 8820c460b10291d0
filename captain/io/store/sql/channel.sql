-- SPDX-License-Identifier: Apache-2.0

-- name: channel_set
INSERT INTO channel (app, channel, digest, base_digest, since_ms, set_by, reason, decision, unsettled)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (app, channel) DO UPDATE SET
    digest = excluded.digest, base_digest = excluded.base_digest, since_ms = excluded.since_ms,
    set_by = excluded.set_by, reason = excluded.reason, decision = excluded.decision,
    unsettled = excluded.unsettled

-- name: channel_issued
UPDATE channel SET generation = ?3, issued_ms = ?4, desired = ?5, unsent = 1
WHERE app = ?1 AND channel = ?2

-- name: channel_sent
UPDATE channel SET unsent = 0 WHERE app = ?1 AND channel = ?2 AND generation = ?3

-- name: channel_get
SELECT app, channel, digest, base_digest, since_ms, set_by, reason, decision, generation, issued_ms,
    desired, unsent, unsettled
FROM channel WHERE app = ?1 AND channel = ?2

-- name: channel_list
SELECT app, channel, digest, base_digest, since_ms, set_by, reason, decision, generation, issued_ms,
    desired, unsent, unsettled
FROM channel ORDER BY app, channel

-- name: channel_list_unsent
SELECT app, channel, digest, base_digest, since_ms, set_by, reason, decision, generation, issued_ms,
    desired, unsent, unsettled
FROM channel WHERE unsent = 1 ORDER BY app, channel
