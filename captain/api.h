/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests on api.<operator>.<noun>.<verb>: one table of verbs, each with its request and reply type and a
 * handler. Reads answer from counters and tables at once; writes go through the decision log and are
 * answered when committed and published. Replies are ApiReply; an error carries the sentence and hint the
 * operator reads. The actor of a decision is "operator:<operator>", taken from the subject.
 */
#pragma once

#include "captain/captain.h"
#include "captain/role.h"

struct api;

/* Subscribes api.*.*.* (before bus_start). captain is borrowed. */
MUST_USE enum err_code api_open(struct captain *captain, struct api **ret, struct err *err);
void api_close(struct api *api);
/* The subjects that a role may publish to, as templates of the server's permissions
 * ("api.{{name()}}.device.ls"), in the arena; 0 when the arena is full. */
size_t api_role_subjects(enum operator_role role, struct arena *arena, const char **ret,
                         size_t max);
