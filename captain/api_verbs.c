/* SPDX-License-Identifier: Apache-2.0
 *
 * The one table of requests: what each takes and gives, and the lowest role that may send it.
 */
#include "captain/api_private.h"

#include <stdio.h>

#include "common/base/mem.h"

#define ROLLOUT_ACTION(verb, role)                                                                 \
    {                                                                                              \
        "rollout", verb, role, &codec_rollout_action, &codec_rollout_info, api_rollout_was_told,   \
            api_rollout_action_prepare                                                             \
    }

#define IDENTITY_VERB(verb)                                                                        \
    {                                                                                              \
        "device", verb, ROLE_ADMIN, &codec_device_verb, &codec_identity_info,                      \
            api_identity_changed, api_identity_prepare                                             \
    }

const struct api_verb api_verbs[] = {
    {"artifact", "put", ROLE_RELEASE_MANAGER, &codec_artifact_put, &codec_artifact_state,
     api_artifact_put, NULL},
    {"artifact", "get", ROLE_VIEWER, &codec_artifact_get, &codec_artifact_piece, api_artifact_get,
     NULL},
    {"release", "create", ROLE_RELEASE_MANAGER, &codec_release_create, &codec_release_info,
     api_release_created, api_release_prepare},
    {"release", "next", ROLE_VIEWER, &codec_release_next, &codec_release_sequence, api_release_next,
     NULL},
    {"release", "ls", ROLE_VIEWER, &codec_release_query, &codec_release_list, api_release_ls, NULL},
    {"release", "show", ROLE_VIEWER, &codec_release_query, &codec_release_info, api_release_show,
     NULL},
    {"release", "export", ROLE_VIEWER, &codec_release_query, &codec_release_info,
     api_release_export, NULL},
    {"channel", "set", ROLE_RELEASE_MANAGER, &codec_channel_set_request, &codec_channel_info,
     api_channel_was_set, api_channel_prepare},
    {"channel", "ls", ROLE_VIEWER, &codec_channel_query, &codec_channel_list, api_channel_ls, NULL},
    {"channel", "show", ROLE_VIEWER, &codec_channel_query, &codec_channel_info, api_channel_show,
     NULL},
    {"channel", "history", ROLE_VIEWER, &codec_channel_query, &codec_channel_history,
     api_channel_history, NULL},
    {"device", "ls", ROLE_VIEWER, &codec_device_query, &codec_device_list, api_device_ls, NULL},
    {"device", "show", ROLE_VIEWER, &codec_device_query, &codec_device_info, api_device_show, NULL},
    {"device", "why", ROLE_VIEWER, &codec_device_query, &codec_why, api_device_why, NULL},
    {"device", "drift", ROLE_VIEWER, &codec_device_query, &codec_drift_list, api_device_drift,
     NULL},
    {"device", "label", ROLE_OPERATOR, &codec_device_change, &codec_device_info, api_device_changed,
     api_device_change_prepare},
    {"device", "pin", ROLE_OPERATOR, &codec_device_change, &codec_device_info, api_device_changed,
     api_device_change_prepare},
    {"device", "unpin", ROLE_OPERATOR, &codec_device_change, &codec_device_info, api_device_changed,
     api_device_change_prepare},
    {"rollout", "start", ROLE_OPERATOR, &codec_rollout_start_request, &codec_rollout_info,
     api_rollout_was_told, api_rollout_prepare},
    {"rollout", "plan", ROLE_VIEWER, &codec_rollout_start_request, &codec_rollout_plan,
     api_rollout_plan, NULL},
    {"rollout", "ls", ROLE_VIEWER, &codec_rollout_query, &codec_rollout_list, api_rollout_ls, NULL},
    {"rollout", "show", ROLE_VIEWER, &codec_rollout_query, &codec_rollout_info, api_rollout_show,
     NULL},
    ROLLOUT_ACTION("pause", ROLE_OPERATOR),
    ROLLOUT_ACTION("resume", ROLE_OPERATOR),
    ROLLOUT_ACTION("promote", ROLE_RELEASE_MANAGER),
    ROLLOUT_ACTION("abort", ROLE_OPERATOR),
    ROLLOUT_ACTION("retry", ROLE_OPERATOR),
    ROLLOUT_ACTION("undo", ROLE_OPERATOR),
    ROLLOUT_ACTION("exclude", ROLE_OPERATOR),
    ROLLOUT_ACTION("approve", ROLE_RELEASE_MANAGER),
    {"gate", "replay", ROLE_VIEWER, &codec_gate_replay_request, &codec_gate_replay, api_gate_replay,
     NULL},
    {"policy", "set", ROLE_RELEASE_MANAGER, &codec_policy_set_request, &codec_policy_info,
     api_policy_was_set, api_policy_prepare},
    {"policy", "show", ROLE_VIEWER, &codec_channel_query, &codec_policy_info, api_policy_show,
     NULL},
    {"policy", "ls", ROLE_VIEWER, &codec_channel_query, &codec_policy_list, api_policy_ls, NULL},
    {"freeze", "set", ROLE_OPERATOR, &codec_freeze_request, &codec_freeze_info, api_freeze_get,
     api_freeze_prepare},
    {"freeze", "get", ROLE_VIEWER, &codec_status_query, &codec_freeze_info, api_freeze_get, NULL},
    {"site", "windows", ROLE_OPERATOR, &codec_site_change, &codec_site_list, api_site_ls,
     api_site_prepare},
    {"site", "ls", ROLE_VIEWER, &codec_site_change, &codec_site_list, api_site_ls, NULL},
    {"root", "publish", ROLE_ADMIN, &codec_root_publish, &codec_root_info, api_root_published,
     api_root_prepare},
    {"root", "show", ROLE_VIEWER, &codec_root_query, &codec_root_info, api_root_show, NULL},
    {"flag", "set", ROLE_RELEASE_MANAGER, &codec_flag_change, &codec_flag_info, api_flag_was_set,
     api_flag_set_prepare},
    {"flag", "unset", ROLE_RELEASE_MANAGER, &codec_flag_change, &codec_flag_list, api_flag_ls,
     api_flag_unset_prepare},
    {"flag", "ls", ROLE_VIEWER, &codec_flag_change, &codec_flag_list, api_flag_ls, NULL},
    {"secret", "key", ROLE_ADMIN, &codec_status_query, &codec_vault_key, api_secret_key, NULL},
    {"secret", "set", ROLE_ADMIN, &codec_secret_put, &codec_secret_info, api_secret_was_set,
     api_secret_set_prepare},
    {"secret", "ls", ROLE_ADMIN, &codec_secret_query, &codec_secret_list, api_secret_ls, NULL},
    {"secret", "rm", ROLE_ADMIN, &codec_secret_query, &codec_secret_list, api_secret_removed,
     api_secret_rm_prepare},
    {"status", "show", ROLE_VIEWER, &codec_status_query, &codec_status, api_status_show, NULL},
    {"token", "new", ROLE_ADMIN, &codec_token_new, &codec_token_info, api_token_created,
     api_token_prepare},
    {"token", "ls", ROLE_VIEWER, &codec_token_query, &codec_token_list, api_token_ls, NULL},
    {"token", "revoke", ROLE_ADMIN, &codec_token_query, &codec_token_info, api_token_revoked,
     api_token_revoke_prepare},
    IDENTITY_VERB("approve"),
    IDENTITY_VERB("reject"),
    IDENTITY_VERB("revoke"),
    IDENTITY_VERB("retire"),
    {"device", "identities", ROLE_VIEWER, &codec_identity_query, &codec_identity_list,
     api_identity_ls, NULL},
    {"operator", "add", ROLE_ADMIN, &codec_operator_add, &codec_operator_info, api_operator_added,
     api_operator_add_prepare},
    {"operator", "rm", ROLE_ADMIN, &codec_operator_query, &codec_operator_info,
     api_operator_removed, api_operator_rm_prepare},
    {"operator", "ls", ROLE_VIEWER, &codec_operator_query, &codec_operator_list, api_operator_ls,
     NULL},
    {"doctor", "show", ROLE_OPERATOR, &codec_status_query, &codec_doctor, api_doctor_show, NULL},
    {"log", "ls", ROLE_VIEWER, &codec_log_query, &codec_log_list, api_log_ls, NULL},
    {"log", "show", ROLE_VIEWER, &codec_log_query, &codec_log_info, api_log_show, NULL},
};
const size_t api_verbs_len = ARRAY_LEN(api_verbs);

const char *const role_names[ROLES] = {"viewer", "operator", "release-manager", "admin"};

bool role_parse(const char *text, enum operator_role *ret)
{
    for (size_t i = 0; i < ROLES; i++) {
        if (str_equal(role_names[i], text)) {
            *ret = (enum operator_role)i;
            return true;
        }
    }
    return false;
}

const struct api_verb *api_find_verb(const char *noun, const char *verb)
{
    for (size_t i = 0; i < api_verbs_len; i++) {
        if (str_equal(api_verbs[i].noun, noun) && str_equal(api_verbs[i].verb, verb))
            return &api_verbs[i];
    }
    return NULL;
}

size_t api_role_subjects(enum operator_role role, struct arena *arena, const char **ret, size_t max)
{
    size_t len = 0;
    for (size_t i = 0; i < api_verbs_len; i++) {
        if (api_verbs[i].role > role || len == max)
            continue;
        ret[len] =
            arena_printf(arena, "api.{{name()}}.%s.%s", api_verbs[i].noun, api_verbs[i].verb);
        if (!ret[len])
            return 0;
        len++;
    }
    return len;
}
