-- SPDX-License-Identifier: Apache-2.0

-- name: log_append
INSERT INTO log (seq, hash, kind, subject, entry) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: log_last
SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1

-- name: log_get
SELECT seq, hash, entry FROM log WHERE seq = ?1

-- name: log_list
SELECT seq, hash, entry FROM log WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2

-- name: log_list_kind
SELECT seq, hash, entry FROM log WHERE seq < ?1 AND kind = ?3 ORDER BY seq DESC LIMIT ?2

-- name: log_list_subject
SELECT seq, hash, entry FROM log WHERE seq < ?1 AND subject = ?3 ORDER BY seq DESC LIMIT ?2

-- name: log_list_both
SELECT seq, hash, entry FROM log WHERE seq < ?1 AND subject = ?3 AND kind = ?4
ORDER BY seq DESC LIMIT ?2
