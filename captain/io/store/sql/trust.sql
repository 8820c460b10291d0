-- SPDX-License-Identifier: Apache-2.0

-- name: token_add
INSERT INTO token (id, public_key, site, body, uses, approval, created_ms, expires_ms, created_by, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)

-- name: token_get
SELECT id, public_key, site, body, uses, used, approval, created_ms, expires_ms, revoked_ms, created_by,
    decision
FROM token WHERE id = ?1

-- name: token_list
SELECT id, public_key, site, body, uses, used, approval, created_ms, expires_ms, revoked_ms, created_by,
    decision
FROM token WHERE id >= ?1 AND id < ?1 || '~' ORDER BY decision DESC LIMIT ?2

-- name: token_use
UPDATE token SET used = used + 1 WHERE id = ?1

-- name: token_revoke
UPDATE token SET revoked_ms = ?2 WHERE id = ?1

-- name: identity_enrol
INSERT INTO identity (device, device_key, seal_key, token, state, enrolled_ms, changed_ms, changed_by,
    decision, hardware)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)
ON CONFLICT (device) DO UPDATE SET
    device_key = excluded.device_key, seal_key = excluded.seal_key, token = excluded.token,
    state = excluded.state, enrolled_ms = excluded.enrolled_ms, changed_ms = excluded.changed_ms,
    changed_by = excluded.changed_by, decision = excluded.decision, hardware = excluded.hardware,
    expires_ms = 0

-- name: identity_state_set
UPDATE identity SET state = ?3, changed_ms = ?4, changed_by = ?5, decision = ?6
WHERE device = ?1 AND device_key = ?2

-- name: identity_credential
UPDATE identity SET expires_ms = ?3 WHERE device = ?1 AND device_key = ?2

-- name: identity_get
SELECT device, device_key, seal_key, token, state, enrolled_ms, changed_ms, changed_by, decision, hardware,
    expires_ms
FROM identity WHERE device = ?1

-- name: identity_by_key
SELECT device, device_key, seal_key, token, state, enrolled_ms, changed_ms, changed_by, decision, hardware,
    expires_ms
FROM identity WHERE device_key = ?1

-- name: identity_list
SELECT device, device_key, seal_key, token, state, enrolled_ms, changed_ms, changed_by, decision, hardware,
    expires_ms
FROM identity WHERE device > ?2 AND (?1 = '' OR state = ?1) ORDER BY device LIMIT ?3

-- name: identity_named
SELECT device, device_key, seal_key, token, state, enrolled_ms, changed_ms, changed_by, decision, hardware,
    expires_ms
FROM identity WHERE substr(device, instr(device, '/') + 1) = ?1 ORDER BY device LIMIT 2

-- name: identity_each
SELECT device FROM identity WHERE state = ?1

-- name: revoked_key_put
INSERT INTO revoked_key (key, name, at_ms, until_ms, for_good) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (key) DO UPDATE SET
    name = excluded.name, at_ms = max(at_ms, excluded.at_ms), until_ms = max(until_ms, excluded.until_ms),
    for_good = max(for_good, excluded.for_good)

-- name: revoked_key_get
SELECT at_ms FROM revoked_key WHERE key = ?1 AND for_good = 1

-- name: revoked_key_list
SELECT key, name, at_ms, until_ms, for_good FROM revoked_key WHERE until_ms > ?1 ORDER BY at_ms, key

-- name: operator_put
INSERT INTO operator (name, role, public_key, added_ms, added_by, expires_ms, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (name) DO UPDATE SET
    role = excluded.role, public_key = excluded.public_key, added_ms = excluded.added_ms,
    added_by = excluded.added_by, expires_ms = excluded.expires_ms, decision = excluded.decision,
    removed_ms = 0

-- name: operator_remove
UPDATE operator SET removed_ms = ?2 WHERE name = ?1

-- name: operator_get
SELECT name, role, public_key, added_ms, added_by, expires_ms, decision, removed_ms FROM operator WHERE name = ?1

-- name: operator_list
SELECT name, role, public_key, added_ms, added_by, expires_ms, decision, removed_ms
FROM operator ORDER BY name LIMIT 1000

-- name: incidents_add
UPDATE setting SET value = value + ?1 WHERE name = 'incidents'
