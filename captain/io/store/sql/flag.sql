-- SPDX-License-Identifier: Apache-2.0

-- name: flag_set
INSERT INTO flag (app, channel, name, value, otherwise, permyriad, salt, set_ms, set_by, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (app, channel, name) DO UPDATE SET
    value = excluded.value, otherwise = excluded.otherwise, permyriad = excluded.permyriad,
    salt = excluded.salt, set_ms = excluded.set_ms, set_by = excluded.set_by,
    decision = excluded.decision

-- name: flag_unset
DELETE FROM flag WHERE app = ?1 AND channel = ?2 AND name = ?3

-- name: flag_list
SELECT app, channel, name, value, otherwise, permyriad, salt, set_ms, set_by, decision
FROM flag ORDER BY app, channel, name

-- name: flag_list_channel
SELECT app, channel, name, value, otherwise, permyriad, salt, set_ms, set_by, decision
FROM flag WHERE app = ?1 AND channel = ?2 ORDER BY name
