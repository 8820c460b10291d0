/* SPDX-License-Identifier: Apache-2.0
 *
 * `captain dev`, inside: a whole fleet on this machine, on two sites. dev.c is the story, dev_world.c
 * starts and ends the processes, dev_files.c writes what they read, dev_scenario.c knows the bad
 * releases, dev_rollout.c starts rollouts and follows them, dev_watch.c looks at what the devices
 * serve, dev_net.c is the network of a device that can be cut, dev_report.c says it. With --secure,
 * dev_fleet.c makes the fleet as `captain init` and `captain-agent enroll` do, and dev_trust.c shows
 * what it is good for.
 */
#pragma once

#include <limits.h>

#include "captain/cli/client.h"
#include "captain/cli/dev_net.h"
#include "captain/cli/dev_proc.h"
#include "captain/cli/dev_scenario.h"

enum { DEV_ASK_EVERY_MS = 50 };
enum { DEV_AGENTS_MAX = 200, DEV_AGENTS = 8, DEV_ENV_MAX = 512, DEV_NAME_MAX = 96 };

struct dev;

struct dev_agent {
    struct dev *dev;
    char device[32]; /* "d1" */
    const char *site;
    uint16_t port; /* of its web service */
    struct dev_proc proc;
    bool asking;       /* a GET is under way */
    char served[96];   /* the content it served last, first line; "": none */
    int64_t served_ms; /* when it first served what is wanted, from the order on; -1: not yet */
    bool ran_bad;      /* it has served the bad release */
    char cut[PATH_MAX + 64]; /* a file that is there while its app cuts its network */
    struct dev_net *net;     /* NULL: it talks to the bus without a way to cut it */
    const char *config;      /* path */
    struct dev_proc enrol;   /* --secure */
};

/* What --secure adds. Times are counted from the order. */
struct dev_trust {
    uint16_t nats_port, store_port;
    const char *url;      /* of the bus, with TLS */
    char secrets[64];     /* a folder in memory, one folder in it for each device; "": none yet */
    const char *settings; /* what each device's app says of its flag and its secret */
    int64_t enrolled_ms, flag_ms, secret_ms, cut_ms;
    const struct dev_agent *revoked;
    const char *log;    /* of the revoked device */
    size_t refusals;    /* in it, that are waited for */
    const char *viewer; /* credentials */
};

/* One move of the channel, measured from the order on. */
struct dev_move {
    const char *version;
    uint64_t size_bytes;
    int64_t create_ms; /* pack, sign, upload, decide */
    int64_t decided_ms;
    int64_t first_ms, last_ms; /* first and last device serving */
    int64_t healthy_ms;        /* all confirmed, as captain sees it */
    uint32_t waves;            /* that were opened; 0: it went without a rollout */
};

/* The bad release: how its rollout ended, as captain told it. */
struct dev_bad {
    const char *version;
    uint32_t canaries, exposed, served; /* devices: of the canary, that had leave, that served it */
    char gate[64], sentence[256], state[32];
    int64_t ended_ms; /* from the order until every device was back */
};

/* A rollout that is followed: what was told last, and before that. */
struct dev_follow {
    struct arena arena[2];
    struct rollout_info info[2];
    bool known[2];
    unsigned now;
    char id[64];
    int64_t asked_ms;
    int64_t decided_ms; /* from the order to captain's answer */
};

struct dev {
    struct invocation *invocation;
    struct arena *arena;
    struct loop *loop;
    bool check, keep, interrupted, ending, secure;
    char dir[PATH_MAX];
    const char *nats_url;
    const char *nats_server, *busybox, *agent_bin, *fetch_bin;
    const char *env[DEV_ENV_MAX]; /* of every process */
    struct dev_proc nats, captain, command;
    struct dev_agent *agents;
    uint32_t agents_len;
    const char *wanted;  /* content that is waited for */
    const char *page;    /* where; NULL: the index page */
    const char *suspect; /* content of the bad release; NULL: not out yet */
    const struct dev_scenario *scenario;
    struct dev_bad bad;
    struct dev_trust trust;
    struct dev_follow follow;
    struct loop_timer tick;
    int64_t started_ms;
    const char *step;
    const struct dev_proc *failed; /* whose log is shown */
    struct dev_move moves[2];
    char nats_version[32];
    struct client *client;  /* to captain; NULL until it answers */
    int64_t asked_ms;       /* when the fleet was asked for last */
    const char *healthy_on; /* the version that is counted */
};

/* dev_world.c */
MUST_USE enum err_code dev_find_programs(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_start_nats(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_start_captain(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_start_agents(struct dev *dev, struct err *err);
/* name is that of its log; env NULL: as every process. */
MUST_USE enum err_code dev_start(struct dev *dev, struct dev_proc *proc, const char *name,
                                 const char *const *argv, const char *const *env, struct err *err);
MUST_USE enum err_code dev_free_ports(uint16_t *ret, size_t len, struct err *err);
/* Runs `captain args...` to its end; args end with NULL. */
MUST_USE enum err_code dev_run(struct dev *dev, const char *const *args, struct err *err);
/* Everything ends, the folder goes unless --keep. */
void dev_end(struct dev *dev);

/* dev_fleet.c */
/* captain init, for ports that are free now; from then on all requests are the first admin's. */
MUST_USE enum err_code dev_fleet_init(struct dev *dev, struct err *err);
/* captain-agent enroll for each agent, whose configurations are written. */
MUST_USE enum err_code dev_fleet_enrol(struct dev *dev, struct err *err);
void dev_fleet_end(struct dev *dev);

/* dev_trust.c */
MUST_USE enum err_code dev_trust_settings(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_trust_people(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_trust_revoke(struct dev *dev, struct err *err);
/* For who wants to try more. */
void dev_trust_hints(const struct dev *dev);

/* Turns the loop until done says so. ERR_FAILED after timeout_ms or when a process ends that must
 * not, ERR_INTERRUPTED after Ctrl-C. */
typedef bool (*dev_done_fn)(struct dev *dev);
MUST_USE enum err_code dev_wait(struct dev *dev, dev_done_fn done, int64_t timeout_ms,
                                struct err *err);

/* dev_files.c */
MUST_USE enum err_code dev_make_folder(struct dev *dev, struct err *err);
MUST_USE enum err_code dev_write_agent(struct dev *dev, struct dev_agent *agent,
                                       const char **ret_path, struct err *err);
/* The web service at a version: folder, content, release.yaml, whose path is returned. */
MUST_USE enum err_code dev_write_release(struct dev *dev, const char *version, const char *script,
                                         const char **ret_yaml, struct err *err);
/* What the index page of that version holds. */
void dev_content(const char *version, char ret[static 64]);

/* dev_rollout.c */
/* Starts the rollout of hello@version and shows it until it has ended, however that is. canaries:
 * devices of the first wave. */
MUST_USE enum err_code dev_roll_out(struct dev *dev, const char *version, uint32_t canaries,
                                    struct err *err);
/* What was told last. */
const struct rollout_info *dev_rollout_info(const struct dev *dev);
void dev_rollout_fini(struct dev *dev);

/* dev_watch.c */
/* Between the two every device is asked again and again for what it serves. */
void dev_watch_begin(struct dev *dev, const char *content);
void dev_watch_end(struct dev *dev);
/* Every device has served it: times of the move. */
MUST_USE enum err_code dev_watch_times(struct dev *dev, struct dev_move *move, int64_t order_ms,
                                       struct err *err);
/* Asks every device again and again until all serve the content, and fills the move's times,
 * counted from order_ms. */
MUST_USE enum err_code dev_wait_serving(struct dev *dev, struct dev_move *move, int64_t order_ms,
                                        struct err *err);
/* Until captain counts every device healthy on the release. */
MUST_USE enum err_code dev_wait_healthy(struct dev *dev, const char *version, struct err *err);
MUST_USE enum err_code dev_wait_online(struct dev *dev, struct err *err);
/* Until every device's app says the line at that page; *ret_ms counted from order_ms. */
MUST_USE enum err_code dev_wait_page(struct dev *dev, const char *page, const char *line,
                                     int64_t order_ms, int64_t *ret_ms, struct err *err);

/* dev_report.c */
void dev_say(struct dev *dev, const char *fmt, ...) PRINTF_LIKE(2, 3);
void dev_warn(const struct dev *dev);
MUST_USE enum err_code dev_show_fleet(struct dev *dev, const char *title, struct err *err);
void dev_show_result(struct dev *dev);
void dev_show_failure(struct dev *dev, const struct err *err);
