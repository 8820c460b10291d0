/* SPDX-License-Identifier: Apache-2.0
 *
 * Where captain is and who asks: named contexts in $XDG_CONFIG_HOME/captain/contexts.json (or
 * ~/.config), mode 0600:
 *   {"current": "lab", "contexts": {"lab": {"url": "nats://lab:4222", "creds": "/x.creds",
 *    "ca": "/ca.pem", "operator": "ada", "release_key": "/keys/release.key", "root": "/root.dsse"}}}
 * An unknown key, a wrong type, or a file that others may read is an error that names file and
 * place. Before the context come the flags, then NATS_URL.
 */
#pragma once

#include "captain/cli/command.h"

enum { CONTEXTS_MAX = 64 };

struct context {
    const char *name;
    const char *url, *creds, *ca, *operator_name, *release_key, *root; /* NULL: not set */
};
struct contexts {
    const char *path;
    const char *current; /* NULL: none */
    struct context list[CONTEXTS_MAX];
    size_t list_len;
};

/* A missing file is an empty list. Everything lives in the arena. */
MUST_USE enum err_code contexts_load(struct arena *arena, struct contexts *ret, struct err *err);
MUST_USE enum err_code contexts_save(const struct contexts *contexts, struct err *err);
/* NULL: there is none of this name. */
struct context *contexts_find(struct contexts *contexts, const char *name);

/* What this call works with: flags, else NATS_URL, else the context of --context, CAPTAIN_CONTEXT
 * or the current one, else nats://127.0.0.1:4222. operator is never NULL and is a token. */
MUST_USE enum err_code context_resolve(const struct invocation *invocation, struct context *ret,
                                       struct err *err);

/* $USER (or the like) made a token: what a token cannot hold becomes '_'. ret takes TOKEN_MAX + 1.
 */
void context_token(const char *text, char *ret);
