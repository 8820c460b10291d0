/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by api.c and the files of its nouns (api_release.c, api_channel.c ...); no one else's.
 *
 * A verb that only reads has `answer`, called at once. One that decides has `prepare` too: the
 * request is kept, prepare runs in the decision log's turn, and answer once the decision is
 * committed and published. All text of an answer lives in the request's arena.
 */
#pragma once

#include "captain/api.h"
#include "captain/io/store/channel.h"
#include "captain/io/store/device.h"
#include "captain/io/store/log.h"
#include "captain/io/store/release.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/trust.h"
#include "captain/rollouts.h"
#include "common/base/ulid.h"
#include "proto/codec.h"

enum {
    API_ARENA_BYTES = 64 << 20, /* of one request: what it asks for, what it reads, its answer */
    API_SCRATCH_BYTES = 8 << 20,
    API_EVENTS_MAX = 50,    /* in one answer */
    API_VERSIONS_MAX = 256, /* of one channel in an answer, the most used first */
    API_ACTOR_MAX = 384,
    API_DEVICES_NAMED_MAX = 20, /* failing ones of a site; some of a wave in a plan */
};

union api_in {
    struct artifact_put artifact_put;
    struct artifact_get artifact_get;
    struct release_create release_create;
    struct release_next release_next;
    struct release_query release_query;
    struct channel_set_request channel_set;
    struct channel_query channel_query;
    struct device_query device_query;
    struct status_query status_query;
    struct log_query log_query;
    struct rollout_start_request rollout_start;
    struct rollout_query rollout_query;
    struct rollout_action rollout_action;
    struct gate_replay_request gate_replay;
    struct policy_set_request policy_set;
    struct freeze_request freeze;
    struct site_change site;
    struct device_change device_change;
    struct token_new token_new;
    struct token_query token_query;
    struct device_verb device_verb;
    struct identity_query identity_query;
    struct flag_change flag_change;
    struct secret_put secret_put;
    struct secret_query secret_query;
    struct root_publish root_publish;
    struct root_query root_query;
    struct operator_add operator_add;
    struct operator_query operator_query;
};
union api_out {
    struct artifact_state artifact_state;
    struct artifact_piece artifact_piece;
    struct release_info release_info;
    struct release_sequence release_sequence;
    struct release_list release_list;
    struct channel_info channel_info;
    struct channel_list channel_list;
    struct channel_history channel_history;
    struct device_info device_info;
    struct device_list device_list;
    struct status status;
    struct log_info log_info;
    struct log_list log_list;
    struct rollout_info rollout_info;
    struct rollout_list rollout_list;
    struct rollout_plan rollout_plan;
    struct gate_replay gate_replay;
    struct policy_info policy_info;
    struct policy_list policy_list;
    struct freeze_info freeze_info;
    struct site_list site_list;
    struct why why;
    struct drift_list drift_list;
    struct token_info token_info;
    struct token_list token_list;
    struct identity_info identity_info;
    struct identity_list identity_list;
    struct flag_info flag_info;
    struct flag_list flag_list;
    struct vault_key vault_key;
    struct secret_info secret_info;
    struct secret_list secret_list;
    struct root_info root_info;
    struct operator_info operator_info;
    struct operator_list operator_list;
    struct doctor doctor;
};

struct api_request {
    struct captain *captain;
    const struct api_verb *verb;
    char actor[API_ACTOR_MAX]; /* "operator:alice" */
    char reply[BUS_SUBJECT_MAX + 1];
    union api_in in;
    struct arena arena;
    struct arena scratch; /* for one lookup at a time: reset by each */
    bool settled;         /* by prepare: it is so already, nothing needs to be decided */
    /* The name found last for a digest. */
    uint8_t named_digest[DIGEST_BYTES];
    const char *named;
    /* Read at first need. */
    struct store_channel *channels;
    size_t channels_len;
    char rollout[ULID_TEXT]; /* the one that prepare was about */
    char token[ULID_TEXT];   /* likewise */
};

typedef enum err_code (*api_answer_fn)(struct api_request *request, union api_out *ret,
                                       struct err *err);
typedef enum err_code (*api_prepare_fn)(struct api_request *request, struct arena *arena,
                                        struct decision *ret, struct err *err);

struct api_verb {
    const char *noun;
    const char *verb;
    enum operator_role role; /* the lowest that may */
    const struct codec_type *request_type;
    const struct codec_type *reply_type;
    api_answer_fn answer;
    api_prepare_fn prepare; /* NULL: it only reads */
};

/* api_verbs.c */
extern const struct api_verb api_verbs[];
extern const size_t api_verbs_len;
const struct api_verb *api_find_verb(const char *noun, const char *verb); /* NULL: there is none */

/* api_artifact.c */
enum err_code api_artifact_put(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_artifact_get(struct api_request *request, union api_out *ret, struct err *err);
/* api_root.c */
enum err_code api_root_prepare(struct api_request *request, struct arena *arena,
                               struct decision *ret, struct err *err);
enum err_code api_root_published(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_root_show(struct api_request *request, union api_out *ret, struct err *err);
/* api_release.c */
enum err_code api_release_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err);
enum err_code api_release_created(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_release_next(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_release_ls(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_release_show(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_release_export(struct api_request *request, union api_out *ret, struct err *err);
/* api_channel.c */
enum err_code api_channel_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err);
enum err_code api_channel_was_set(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_channel_ls(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_channel_show(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_channel_history(struct api_request *request, union api_out *ret, struct err *err);
/* api_device.c */
enum err_code api_device_ls(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_device_show(struct api_request *request, union api_out *ret, struct err *err);
/* api_device_change.c */
enum err_code api_device_change_prepare(struct api_request *request, struct arena *arena,
                                        struct decision *ret, struct err *err);
enum err_code api_device_changed(struct api_request *request, union api_out *ret, struct err *err);
/* api_why.c */
enum err_code api_device_why(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_device_drift(struct api_request *request, union api_out *ret, struct err *err);
/* api_rollout.c */
enum err_code api_rollout_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err);
enum err_code api_rollout_action_prepare(struct api_request *request, struct arena *arena,
                                         struct decision *ret, struct err *err);
/* After either of them: how it stands now. */
enum err_code api_rollout_was_told(struct api_request *request, union api_out *ret,
                                   struct err *err);
/* api_rollout_info.c */
enum err_code api_rollout_ls(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_rollout_show(struct api_request *request, union api_out *ret, struct err *err);
/* rollouts_change_fn: tells those who watch, on rollout.<id>. captain is the struct captain. */
void api_rollout_changed(void *captain, const struct rollout_handle *handle);
/* api_rollout_plan.c */
enum err_code api_rollout_plan(struct api_request *request, union api_out *ret, struct err *err);
/* api_gate.c */
enum err_code api_gate_replay(struct api_request *request, union api_out *ret, struct err *err);
/* api_policy.c */
enum err_code api_policy_prepare(struct api_request *request, struct arena *arena,
                                 struct decision *ret, struct err *err);
enum err_code api_policy_was_set(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_policy_show(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_policy_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_freeze.c */
enum err_code api_freeze_prepare(struct api_request *request, struct arena *arena,
                                 struct decision *ret, struct err *err);
enum err_code api_freeze_get(struct api_request *request, union api_out *ret, struct err *err);
/* api_site.c */
enum err_code api_site_prepare(struct api_request *request, struct arena *arena,
                               struct decision *ret, struct err *err);
enum err_code api_site_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_flag.c */
enum err_code api_flag_set_prepare(struct api_request *request, struct arena *arena,
                                   struct decision *ret, struct err *err);
enum err_code api_flag_unset_prepare(struct api_request *request, struct arena *arena,
                                     struct decision *ret, struct err *err);
enum err_code api_flag_was_set(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_flag_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_secret.c */
enum err_code api_secret_key(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_secret_set_prepare(struct api_request *request, struct arena *arena,
                                     struct decision *ret, struct err *err);
enum err_code api_secret_rm_prepare(struct api_request *request, struct arena *arena,
                                    struct decision *ret, struct err *err);
enum err_code api_secret_was_set(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_secret_removed(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_secret_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_token.c */
enum err_code api_token_prepare(struct api_request *request, struct arena *arena,
                                struct decision *ret, struct err *err);
enum err_code api_token_created(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_token_revoke_prepare(struct api_request *request, struct arena *arena,
                                       struct decision *ret, struct err *err);
enum err_code api_token_revoked(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_token_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_identity.c */
enum err_code api_identity_prepare(struct api_request *request, struct arena *arena,
                                   struct decision *ret, struct err *err);
enum err_code api_identity_changed(struct api_request *request, union api_out *ret,
                                   struct err *err);
enum err_code api_identity_ls(struct api_request *request, union api_out *ret, struct err *err);
/* How a device stands with captain, and (incident) what was noted of it last. */
MUST_USE enum err_code api_identity_of(struct api_request *request, bool incident,
                                       struct device_info *info, struct err *err);
/* api_operator.c */
enum err_code api_operator_add_prepare(struct api_request *request, struct arena *arena,
                                       struct decision *ret, struct err *err);
enum err_code api_operator_rm_prepare(struct api_request *request, struct arena *arena,
                                      struct decision *ret, struct err *err);
enum err_code api_operator_added(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_operator_removed(struct api_request *request, union api_out *ret,
                                   struct err *err);
enum err_code api_operator_ls(struct api_request *request, union api_out *ret, struct err *err);
/* api_doctor.c */
enum err_code api_doctor_show(struct api_request *request, union api_out *ret, struct err *err);
/* api_status.c */
enum err_code api_status_show(struct api_request *request, union api_out *ret, struct err *err);
/* api_log.c */
enum err_code api_log_ls(struct api_request *request, union api_out *ret, struct err *err);
enum err_code api_log_show(struct api_request *request, union api_out *ret, struct err *err);

/* Shared by the nouns. */

/* ERR_SIZE: the answer does not fit the arena. */
enum err_code api_too_large(struct err *err);
/* Hexadecimal text of a digest; "" for an empty one. NULL when the arena is full. */
const char *api_hex(struct api_request *request, struct bytes digest);
/* "app@version" of a release by its digest; "" for an empty digest, its first digits when it is not
 * known. */
const char *api_release_name(struct api_request *request, struct bytes digest);
/* "healthy" for APP_STATE_HEALTHY; "unspecified" for what is none. */
const char *api_state_name(unsigned state);
/* All channels, with counters. */
MUST_USE enum err_code api_channels(struct api_request *request, const struct channel_info **ret,
                                    size_t *ret_len, struct err *err);
/* api_release_info.c. A row without its envelope (store_release_list) gives what the row says. */
MUST_USE enum err_code api_release_describe(struct api_request *request,
                                            const struct store_release *row,
                                            struct release_info *ret, struct err *err);
/* A release that is not here: the sentence names those that are. Returns ERR_NOT_FOUND. */
enum err_code api_release_unknown(struct api_request *request, const char *app, const char *version,
                                  struct err *err);

/* api_channel.c */
struct api_channel {
    char app[TOKEN_MAX + 1];
    char channel[TOKEN_MAX + 1];
};
/* "app/channel"; ERR_USAGE. */
MUST_USE enum err_code api_read_channel(const char *text, struct api_channel *ret, struct err *err);
/* A release ("app@version") of that app that is known here. */
MUST_USE enum err_code api_find_release(struct api_request *request, const char *app,
                                        const char *text, struct store_release *ret,
                                        struct err *err);
/* api_device.c. "site/device", or "device" when only one site has it. */
MUST_USE enum err_code api_find_device(const struct captain *captain, const char *text,
                                       uint32_t *ret, struct err *err);
MUST_USE enum err_code api_describe_device(struct api_request *request, const char *text,
                                           struct device_info *ret, struct err *err);
uint32_t api_fleet_len(const struct captain *captain);
/* The last health of a device; an empty one when nothing is stored. */
MUST_USE enum err_code api_device_health(struct api_request *request, uint32_t device,
                                         struct health *ret, struct err *err);
/* What is said of one device (labels, pins); an empty one when nothing was. */
MUST_USE enum err_code api_device_said(struct api_request *request, const char *device,
                                       struct device_set *ret, struct err *err);

/* api_rollout_info.c. How a rollout stands, from what is in memory. */
MUST_USE enum err_code api_rollout_describe(struct api_request *request,
                                            const struct rollout_handle *handle,
                                            struct rollout_info *ret, struct err *err);
/* A gate's result in words; gate NULL text when the arena is full. */
bool api_gate_info(struct api_request *request, const struct policy *policy,
                   const struct gate_result *result, struct rollout_gate_info *ret);
/* "rollout": an id, a beginning of one, a channel, or "": the only one that lives. */
MUST_USE enum err_code api_find_rollout(struct api_request *request, const char *text,
                                        struct rollout_handle *ret, struct err *err);
/* api_rollout.c. The policy that a start would have: given as a file, by name, or the
 * channel's. */
MUST_USE enum err_code api_rollout_policy(struct api_request *request,
                                          const struct api_channel *channel, struct policy *ret,
                                          struct err *err);
/* The base of a new rollout: what succeeded last. has_base false: nothing has yet. */
struct api_base {
    bool has_base;
    uint8_t digest[DIGEST_BYTES];
    struct rollout_handle live; /* id NULL: none */
};
MUST_USE enum err_code api_rollout_base(struct api_request *request,
                                        const struct api_channel *channel, struct api_base *ret,
                                        struct err *err);
/* Whether a version stands between base and target through which every device must pass. */
MUST_USE enum err_code api_rollout_floors(struct api_request *request, const struct policy *policy,
                                          const struct api_base *base,
                                          const struct store_release *target, struct err *err);
/* A decision that nobody may take without saying why. */
MUST_USE enum err_code api_demand_reason(const char *reason, const char *what, struct err *err);
