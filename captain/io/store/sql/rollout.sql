-- SPDX-License-Identifier: Apache-2.0

-- name: rollout_add
INSERT INTO rollout (id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes,
    started_by, reason, started_ms, decision)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)

-- name: rollout_published
UPDATE rollout SET effects = max(effects, ?2), published = ?3, to_base = ?4, wave = ?5, cut = ?6, cohort = ?7
WHERE id = ?1

-- name: rollout_effect
UPDATE rollout SET effects = max(effects, ?2) WHERE id = ?1

-- name: rollout_moved
UPDATE rollout SET effects = max(effects, ?2), state = ?3, ended_ms = ?4 WHERE id = ?1

-- name: rollout_reopen
UPDATE rollout SET ended_ms = 0 WHERE id = ?1

-- name: rollout_get
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout WHERE id = ?1

-- name: rollout_steering
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout WHERE app = ?1 AND channel = ?2 AND published > 0 ORDER BY published DESC LIMIT 1

-- name: rollout_list
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout ORDER BY decision DESC LIMIT ?1

-- name: rollout_list_live
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout WHERE ended_ms = 0 ORDER BY decision DESC LIMIT ?1

-- name: rollout_list_channel
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout WHERE app = ?1 AND channel = ?2 ORDER BY decision DESC LIMIT ?3

-- name: rollout_list_channel_live
SELECT id, app, channel, digest, base_digest, policy_name, policy, seed, supersedes, started_by, reason,
    started_ms, ended_ms, state, decision, effects, published, to_base, wave, cut, cohort,
    (SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = rollout.id)
FROM rollout WHERE app = ?1 AND channel = ?2 AND ended_ms = 0 ORDER BY decision DESC LIMIT ?3

-- name: rollout_input_add
INSERT INTO rollout_input (rollout, number, input) VALUES (?1, ?2, ?3)

-- name: rollout_inputs
SELECT number, input FROM rollout_input WHERE rollout = ?1 AND number >= ?2 ORDER BY number

-- name: rollout_inputs_len
SELECT coalesce(max(number), -1) + 1 FROM rollout_input WHERE rollout = ?1

-- name: rollout_input_get
SELECT input FROM rollout_input WHERE rollout = ?1 AND number = ?2
