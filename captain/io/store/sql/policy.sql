-- SPDX-License-Identifier: Apache-2.0

-- name: policy_set
INSERT INTO channel_policy (app, channel, name, policy, since_ms, set_by, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (app, channel) DO UPDATE SET
    name = excluded.name, policy = excluded.policy, since_ms = excluded.since_ms,
    set_by = excluded.set_by, decision = excluded.decision

-- name: policy_get
SELECT app || '/' || channel, name, policy, since_ms, set_by, decision
FROM channel_policy WHERE app = ?1 AND channel = ?2

-- name: policy_list
SELECT app || '/' || channel, name, policy, since_ms, set_by, decision
FROM channel_policy ORDER BY app, channel

-- name: device_set_put
INSERT INTO device_set (device, body, decision) VALUES (?1, ?2, ?3)
ON CONFLICT (device) DO UPDATE SET body = excluded.body, decision = excluded.decision

-- name: device_set_ensure
INSERT OR IGNORE INTO device_set (device, body, decision) VALUES (?1, ?2, 0)

-- name: device_set_get
SELECT device, body, decision, generation, issued_ms, desired, unsent FROM device_set WHERE device = ?1

-- name: device_set_list
SELECT device, body, decision, generation, issued_ms, desired, unsent FROM device_set ORDER BY device

-- name: device_set_list_unsent
SELECT device, body, decision, generation, issued_ms, desired, unsent
FROM device_set WHERE unsent = 1 ORDER BY device LIMIT 512

-- name: device_set_issued
UPDATE device_set SET generation = ?2, issued_ms = ?3, desired = ?4, unsent = 1 WHERE device = ?1

-- name: device_set_sent
UPDATE device_set SET unsent = 0 WHERE device = ?1 AND generation = ?2

-- name: device_set_unsent
UPDATE device_set SET unsent = 1 WHERE desired IS NOT NULL

-- name: device_set_list_stale
SELECT device, body, decision, generation, issued_ms, desired, unsent
FROM device_set d WHERE issued_ms < ?1
    AND NOT EXISTS (SELECT 1 FROM identity i WHERE i.device = d.device AND i.state <> 'approved')
ORDER BY device LIMIT 512

-- name: site_set
INSERT INTO site (site, windows, since_ms, set_by) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (site) DO UPDATE SET
    windows = excluded.windows, since_ms = excluded.since_ms, set_by = excluded.set_by

-- name: site_clear
DELETE FROM site WHERE site = ?1

-- name: site_list
SELECT site, windows, since_ms, set_by FROM site ORDER BY site
