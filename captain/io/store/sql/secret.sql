-- SPDX-License-Identifier: Apache-2.0

-- name: secret_set
INSERT INTO secret (app, name, scope, digest, version, set_ms, set_by, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (app, name, scope) DO UPDATE SET
    digest = excluded.digest, version = excluded.version, set_ms = excluded.set_ms,
    set_by = excluded.set_by, decision = excluded.decision

-- name: secret_remove
UPDATE secret SET digest = NULL WHERE app = ?1 AND name = ?2 AND scope = ?3

-- name: secret_leave
INSERT OR IGNORE INTO secret_garbage (digest)
SELECT digest FROM secret WHERE app = ?1 AND name = ?2 AND scope = ?3 AND digest IS NOT NULL

-- name: secret_list
SELECT app, name, scope, digest, version, set_ms, set_by, decision
FROM secret WHERE digest IS NOT NULL AND (?1 = '' OR app = ?1) AND (?2 = '' OR name = ?2)
ORDER BY app, name, scope

-- name: secret_last_version
SELECT coalesce(max(version), 0) FROM secret WHERE app = ?1 AND name = ?2

-- name: secret_named
SELECT 1 FROM secret WHERE digest = ?1 LIMIT 1

-- name: secret_garbage
SELECT digest FROM secret_garbage LIMIT 512

-- name: secret_garbage_gone
DELETE FROM secret_garbage WHERE digest = ?1

-- name: secret_device_list
SELECT app, name, scope, version, seal_key, sealed, generation, confirmed
FROM secret_device WHERE device = ?1 ORDER BY app, name

-- name: secret_device_put
INSERT INTO secret_device (device, app, name, scope, version, seal_key, sealed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (device, app, name) DO UPDATE SET
    scope = excluded.scope, version = excluded.version, seal_key = excluded.seal_key,
    sealed = excluded.sealed, generation = 0, confirmed = 0

-- name: secret_device_drop
DELETE FROM secret_device WHERE device = ?1 AND app = ?2 AND name = ?3

-- name: secret_device_issued
UPDATE secret_device SET generation = ?2
WHERE device = ?1 AND generation = 0 AND version > 0 AND length(sealed) > 0

-- name: secret_device_confirm
UPDATE secret_device SET confirmed = 1
WHERE device = ?1 AND confirmed = 0 AND generation BETWEEN 1 AND ?2

-- name: secret_device_waits
SELECT coalesce(min(generation), 0) FROM secret_device
WHERE device = ?1 AND confirmed = 0 AND generation > 0

-- name: secret_devices
SELECT count(*) FROM secret_device WHERE app = ?1 AND name = ?2 AND scope = ?3

-- name: secret_confirmed
SELECT count(*) FROM secret_device
WHERE app = ?1 AND name = ?2 AND scope = ?3 AND confirmed = 1 AND version = ?4

-- name: secret_waiting
SELECT device FROM secret_device
WHERE app = ?1 AND name = ?2 AND scope = ?3 AND (confirmed = 0 OR version <> ?4)
ORDER BY device LIMIT ?5

-- name: secret_device_any
SELECT 1 FROM secret_device LIMIT 1

-- name: vault_check_get
SELECT key_check FROM vault WHERE id = 1

-- name: vault_check_put
INSERT INTO vault (id, key_check) VALUES (1, ?1)
ON CONFLICT (id) DO UPDATE SET key_check = excluded.key_check
