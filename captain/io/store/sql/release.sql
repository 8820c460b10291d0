-- SPDX-License-Identifier: Apache-2.0

-- name: release_add
INSERT INTO release
    (digest, app, version, sequence, created_ms, created_by, decision, size_bytes, envelope)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)

-- name: release_find
SELECT digest, app, version, sequence, created_ms, created_by, decision, size_bytes, envelope
FROM release WHERE app = ?1 AND version = ?2

-- name: release_get
SELECT digest, app, version, sequence, created_ms, created_by, decision, size_bytes, envelope
FROM release WHERE digest = ?1

-- name: release_list
SELECT digest, app, version, sequence, created_ms, created_by, decision, size_bytes, x''
FROM release ORDER BY app, sequence DESC

-- name: release_list_app
SELECT digest, app, version, sequence, created_ms, created_by, decision, size_bytes, x''
FROM release WHERE app = ?1 ORDER BY sequence DESC

-- name: release_last_sequence
SELECT sequence FROM release WHERE app = ?1 ORDER BY sequence DESC LIMIT 1
