-- SPDX-License-Identifier: Apache-2.0
-- name: setting_get
SELECT value FROM setting WHERE name = ?1
-- name: setting_put
INSERT INTO setting (name, value) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
-- name: app_get
SELECT state, target, confirmed, previous, refused, decision, refused_decision, data_version,
       failures, since_ms, refused_code, reason_code, desired, desired_generation, attempt,
       rollout, attempt_number, flaps, excused, failure, space_bytes
FROM app WHERE app = ?1
-- name: app_put
INSERT INTO app (app, state, target, confirmed, previous, refused, decision, refused_decision,
                 data_version, failures, since_ms, refused_code, reason_code, desired,
                 desired_generation, attempt, rollout, attempt_number, flaps, excused, failure,
                 space_bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
        ?21, ?22)
ON CONFLICT (app) DO UPDATE SET
    state = excluded.state,
    target = excluded.target,
    confirmed = excluded.confirmed,
    previous = excluded.previous,
    refused = excluded.refused,
    decision = excluded.decision,
    refused_decision = excluded.refused_decision,
    data_version = excluded.data_version,
    failures = excluded.failures,
    since_ms = excluded.since_ms,
    refused_code = excluded.refused_code,
    reason_code = excluded.reason_code,
    desired = excluded.desired,
    desired_generation = excluded.desired_generation,
    attempt = excluded.attempt,
    rollout = excluded.rollout,
    attempt_number = excluded.attempt_number,
    flaps = excluded.flaps,
    excused = excluded.excused,
    failure = excluded.failure,
    space_bytes = excluded.space_bytes
-- name: device_get
SELECT envelope FROM device WHERE one = 1
-- name: device_put
INSERT INTO device (one, envelope) VALUES (1, ?1)
ON CONFLICT (one) DO UPDATE SET envelope = excluded.envelope
-- name: event_add
INSERT INTO event (seq, encoded) VALUES (?1, ?2)
-- name: event_count
SELECT count(*) FROM event
-- name: event_after
SELECT seq, encoded FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2
-- name: event_drop
DELETE FROM event WHERE seq <= ?1
-- name: process_put
INSERT INTO process (app, service, pid, start_ticks, boot_id) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (app, service) DO UPDATE SET
    pid = excluded.pid, start_ticks = excluded.start_ticks, boot_id = excluded.boot_id
-- name: process_drop
DELETE FROM process WHERE app = ?1 AND service = ?2
-- name: process_get
SELECT pid, start_ticks, boot_id FROM process WHERE app = ?1 AND service = ?2
-- name: process_list
SELECT service FROM process WHERE app = ?1 ORDER BY service LIMIT ?2
-- name: counter_get
SELECT value FROM counter WHERE name = ?1
-- name: counter_raise
INSERT INTO counter (name, value) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)
-- name: counter_all
SELECT name, value FROM counter ORDER BY name LIMIT ?1
-- name: counter_drop
DELETE FROM counter WHERE substr(name, 1, length(?1)) = ?1
