/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of `captain serve`: owns loop, bus, tables, log, fleet and edges, and joins them. Holds no
 * rule of its own.
 */
#pragma once

#include "captain/core/fleet.h"
#include "captain/decision.h"
#include "captain/desired.h"
#include "captain/desired_device.h"
#include "captain/enrol.h"
#include "captain/ingest.h"
#include "captain/io/artifact.h"
#include "captain/io/http.h"
#include "captain/io/vault.h"
#include "captain/keys.h"
#include "captain/metrics.h"
#include "captain/rollouts.h"
#include "captain/secrets.h"
#include "captain/trust_bundle.h"
#include "captain/roots.h"

struct captain_options {
    const char *folder; /* state: captain.db, keys/, artifact/, release/, root.dsse, captain.lock */
    const char *nats_url;
    const char *nats_creds;         /* or NULL */
    const char *nats_ca;            /* or NULL */
    const char *listen;             /* of the artifact store; NULL: "127.0.0.1:0" */
    const char *tls_cert, *tls_key; /* of the artifact store (PEM); NULL: plain HTTP */
    const char *store_url; /* what devices are told; NULL: http(s):// and the address listened on */
    const char *tenant;    /* NULL: "default" */
    const char
        *fetch_helper; /* path of captain-fetch, for metrics from outside; NULL: there are none */
    /* "file:PATH" (relative to folder), "credential:NAME", "env:NAME"; NULL: captain keeps no secrets */
    const char *master_key;
    int64_t online_ms;    /* a device unheard of for so long is offline; 0: 90 s */
    uint32_t devices_max; /* 0: 1,000,000 */
    int64_t flush_ms;     /* 0: 1,000 */
};

struct captain {
    struct captain_options options;
    char holder[256]; /* "host:pid" */
    char store_url[256];
    int64_t started_ms;
    int lock_fd;
    struct loop *loop;
    struct db *db;
    struct bus *bus;     /* to devices and people */
    struct bus *streams; /* to the streams; without roles the same as bus (captain_bus.h) */
    struct fleet *fleet;
    struct keys keys;
    struct artifacts *artifacts;
    struct http_server *http;
    struct decisions *decisions;
    struct roots *roots;
    struct desired_publisher *desired;
    struct desired_devices *desired_devices;
    struct ingest *ingest;
    struct rollouts *rollouts;
    struct vault *vault; /* NULL: no master key */
    struct secrets *secrets;
    struct account *account; /* NULL: there are no roles (no captain.json) */
    struct incidents *incidents;
    struct enrol *enrol; /* NULL without roles */
    const char *nats_urls[TRUST_BUNDLE_URLS_MAX];
    char nats_urls_text[2048];
    struct metrics *metrics;
    struct api *api;
    struct summary *summary;
    struct device_clocks *clocks;
    bool ready; /* it leads the log, and the tables hold all of it */
    enum err_code exit_code;
};

/* Runs until SIGINT, SIGTERM or loss of the log. Prints nothing: logs, and notifies systemd when ready. */
MUST_USE enum err_code captain_serve(const struct captain_options *options, struct err *err);
