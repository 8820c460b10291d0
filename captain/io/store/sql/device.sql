-- SPDX-License-Identifier: Apache-2.0

-- name: device_add
INSERT INTO device (name, first_seen_ms) VALUES (?1, ?2)

-- name: device_find
SELECT id FROM device WHERE name = ?1

-- name: device_seen
INSERT INTO device_seen (id, last_seen_ms) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET last_seen_ms = excluded.last_seen_ms

-- name: device_health
INSERT INTO device_health (id, health) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET health = excluded.health

-- name: device_telemetry
INSERT INTO device_telemetry (id, received_ms, telemetry) VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET received_ms = excluded.received_ms, telemetry = excluded.telemetry

-- name: device_garbage
INSERT INTO device_garbage (id, count) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET count = excluded.count

-- name: device_get
SELECT d.id, d.name, d.first_seen_ms, coalesce(s.last_seen_ms, 0), coalesce(g.count, 0), h.health,
    t.telemetry, coalesce(t.received_ms, 0), coalesce(e.epoch, ''), coalesce(e.seq, 0),
    coalesce(e.events, 0)
FROM device d
LEFT JOIN device_seen s ON s.id = d.id
LEFT JOIN device_garbage g ON g.id = d.id
LEFT JOIN device_health h ON h.id = d.id
LEFT JOIN device_telemetry t ON t.id = d.id
LEFT JOIN device_events e ON e.id = d.id
WHERE d.id = ?1

-- name: device_each
SELECT d.id, d.name, d.first_seen_ms, coalesce(s.last_seen_ms, 0), coalesce(g.count, 0), h.health,
    t.telemetry, coalesce(t.received_ms, 0), coalesce(e.epoch, ''), coalesce(e.seq, 0),
    coalesce(e.events, 0)
FROM device d
LEFT JOIN device_seen s ON s.id = d.id
LEFT JOIN device_garbage g ON g.id = d.id
LEFT JOIN device_health h ON h.id = d.id
LEFT JOIN device_telemetry t ON t.id = d.id
LEFT JOIN device_events e ON e.id = d.id
ORDER BY d.id
