-- SPDX-License-Identifier: Apache-2.0

-- name: root_add
INSERT INTO root (version, envelope, expires_ms, at_ms, set_by, reason, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: root_get
SELECT version, envelope, expires_ms, at_ms, set_by, reason, decision FROM root WHERE version = ?1

-- name: root_newest
SELECT version, envelope, expires_ms, at_ms, set_by, reason, decision FROM root ORDER BY version DESC LIMIT 1

-- name: root_list
SELECT version, NULL, expires_ms, at_ms, set_by, reason, decision FROM root ORDER BY version LIMIT ?1
