/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands of `captain release` share.
 */
#pragma once

#include "captain/cli/client.h"
#include "captain/cli/document.h"

/* "app@version" into a query whose texts live in the arena. ERR_USAGE. */
MUST_USE enum err_code release_query_parse(const char *text, struct arena *arena,
                                           struct release_query *ret, struct err *err);
/* release.show or release.export (with its envelope). */
MUST_USE enum err_code release_ask(struct client *client, const char *verb,
                                   const struct release_query *query, struct arena *arena,
                                   struct release_info *ret, struct err *err);
/* The release inside an envelope, not verified: captain and the devices do that. */
MUST_USE enum err_code release_unwrap(struct bytes envelope, struct arena *arena,
                                      struct bytes *ret_payload, struct release *ret,
                                      struct err *err);
/* One release, for people or as JSON. */
MUST_USE enum err_code release_print(const struct release_info *info, struct arena *arena,
                                     struct err *err);
/* The release in a document on this machine, not verified, for people or as JSON: what somebody is
 * about to sign. */
MUST_USE enum err_code release_print_document(const struct document *document, struct arena *arena,
                                              struct err *err);
