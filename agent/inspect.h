/* SPDX-License-Identifier: Apache-2.0
 *
 * `captain-agent verify`: what is installed here, or a release as a file, checked without network
 * and without changing anything; the answer is the reason that the agent would give. A line for
 * each thing that holds goes to say.
 */
#pragma once

#include "agent/config.h"

typedef void (*inspect_say_fn)(const char *line);

/* path: a release document, or a folder with release.dsse and artifacts/<sha256>. Against that root
 * document, for this device's system. */
MUST_USE enum err_code inspect_release(const char *root_path, const char *path, inspect_say_fn say,
                                       struct err *err);
/* The root document and, of each app, the release that serves: its document, whether it may be
 * installed today, and the hash of every file that is an artifact of its own. (Of an unpacked
 * archive nothing is signed but the archive.) */
MUST_USE enum err_code inspect_device(const struct config *config, inspect_say_fn say,
                                      struct err *err);
