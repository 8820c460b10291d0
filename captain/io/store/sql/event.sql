-- SPDX-License-Identifier: Apache-2.0

-- name: event_last
SELECT seq FROM event_epoch WHERE device_id = ?1 AND epoch = ?2

-- name: event_add
INSERT INTO event (device_id, epoch, seq, event) VALUES (?1, ?2, ?3, ?4)

-- name: event_count_epoch
INSERT INTO event_epoch (device_id, epoch, seq) VALUES (?1, ?2, ?3)
ON CONFLICT (device_id, epoch) DO UPDATE SET seq = excluded.seq

-- name: event_count_device
INSERT INTO device_events (id, epoch, seq, events) VALUES (?1, ?2, ?3, 1)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, events = events + 1

-- name: event_count_all
UPDATE setting SET value = value + 1 WHERE name = 'events'

-- name: event_list
SELECT event FROM event WHERE device_id = ?1 ORDER BY epoch DESC, seq DESC LIMIT ?2
