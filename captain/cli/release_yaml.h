/* SPDX-License-Identifier: Apache-2.0
 *
 * release.yaml: what its author writes about a release; packaging/man/captain-release.yaml.5.scd is
 * its reference. Reads and checks only; files are looked at later (release_create.c).
 */
#pragma once

#include "captain/io/yaml_bind.h"
#include "proto/messages.h"

enum { RELEASE_YAML_MAX_BYTES = 1 << 20 };

struct release_yaml_artifact {
    struct yaml_place place;
    const char *path; /* on this machine, from the file's folder; NULL: only url, sha256, size */
    const char *to;   /* NULL: "." for a folder, its last part for a file */
    const char *os, *arch, *hardware;
    const char *url;
    const char *sha256; /* what it must be; NULL: whatever it is */
    uint64_t size_bytes;
    bool executable;
};
struct release_yaml_service {
    struct yaml_place place;
    struct service service;
    const struct yaml_pair *env;
    size_t env_len;
};
struct release_yaml_check {
    struct yaml_place place;
    struct check check;
};
struct release_yaml_source {
    struct yaml_place place;
    const char *repository, *commit;
};
struct release_yaml {
    struct yaml_place place;
    const char *name; /* of the file, for complaints */
    const char *app, *version, *minimum_agent, *metrics_file, *provenance;
    uint32_t data_version, confirm_ms;
    int64_t expires_ms; /* from its creation; 0: 180 days */
    const struct release_yaml_source *sources;
    size_t sources_len;
    const struct release_yaml_artifact *artifacts;
    size_t artifacts_len;
    const struct release_yaml_service *services;
    size_t services_len;
    const struct release_yaml_check *checks;
    size_t checks_len;
};

/* name stands for the file in complaints ("release.yaml:12:5: ..."). Borrows name; everything else
 * lives in the arena. ERR_USAGE. */
MUST_USE enum err_code release_yaml_parse(const char *name, struct bytes text, struct arena *arena,
                                          struct release_yaml *ret, struct err *err);

/* All that the file says, as the message; artifacts, sequence and times are for the caller to fill.
 */
MUST_USE enum err_code release_yaml_message(const struct release_yaml *yaml, struct arena *arena,
                                            struct release *ret, struct err *err);
