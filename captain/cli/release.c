/* SPDX-License-Identifier: Apache-2.0
 *
 * captain release ls | show
 */
#include "captain/cli/release.h"

#include <inttypes.h>
#include <string.h>

#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum err_code release_query_parse(const char *text, struct arena *arena, struct release_query *ret,
                                  struct err *err)
{
    char app[TOKEN_MAX + 1];
    char version[VERSION_MAX + 1];
    if (str_split_pair(text, '@', app, version, err)) {
        err->code = ERR_USAGE;
        return err_hint(err, "APP@VERSION, as in hello@1.1 (captain release ls)");
    }
    *ret = (struct release_query){.app = arena_strdup(arena, app),
                                  .version = arena_strdup(arena, version)};
    return ERR_OK;
}

enum err_code release_ask(struct client *client, const char *verb,
                          const struct release_query *query, struct arena *arena,
                          struct release_info *ret, struct err *err)
{
    return client_call(client,
                       &(struct client_call){"release", verb, &codec_release_query, query,
                                             &codec_release_info, ret},
                       arena, err);
}

enum err_code release_unwrap(struct bytes bytes, struct arena *arena, struct bytes *ret_payload,
                             struct release *ret, struct err *err)
{
    struct envelope envelope;
    if (codec_decode(&codec_envelope, bytes, arena, &envelope, err) ||
        codec_decode(&codec_release, envelope.payload, arena, ret, err))
        return err_wrap(err, "this is no release");
    *ret_payload = envelope.payload;
    return ERR_OK;
}

static const char *join(struct arena *arena, const char *const *texts, size_t len)
{
    const char *all = "";
    for (size_t i = 0; i < len && all; i++)
        all = arena_printf(arena, "%s%s%s", all, i ? ", " : "", texts[i]);
    return output_text(all);
}

static void print_row(struct output_table *table, const struct release_info *info,
                      struct arena *arena, int64_t now_ms)
{
    output_table_row(table, (const char *const[]){
                                arena_printf(arena, "%s@%s", info->app, info->version),
                                output_number(arena, info->sequence),
                                output_age(arena, info->created_ms, now_ms),
                                info->created_by,
                                output_size(arena, info->size_bytes),
                                output_number(arena, info->devices),
                                output_short(arena, info->digest),
                                join(arena, info->channels, info->channels_len),
                            });
}

enum err_code cmd_release_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct release_query query = {.app = invocation->args_len ? invocation->args[0] : ""};
    struct release_list list;
    struct arena *arena = invocation->arena;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"release", "ls", &codec_release_query, &query,
                                          &codec_release_list, &list},
                    arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_release_list, &list, arena, err);
    if (list.releases_len == 0) {
        output_note("no releases yet; captain release create -f release.yaml");
        return ERR_OK;
    }
    struct output_table *table = output_table_new((const char *const[]){
        "RELEASE", ">SEQ", "CREATED", "BY", ">SIZE", ">DEVICES", "DIGEST", "<CHANNELS", NULL});
    int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < list.releases_len; i++)
        print_row(table, &list.releases[i], arena, now_ms);
    output_table_end(table);
    return ERR_OK;
}

static void print_artifacts(const struct release_info *info, struct arena *arena)
{
    if (info->artifacts_len == 0)
        return;
    output_line("%s", "");
    struct output_table *table = output_table_new(
        (const char *const[]){"ARTIFACT", "KIND", "TARGET", ">SIZE", "SHA256", NULL});
    for (size_t i = 0; i < info->artifacts_len; i++) {
        const struct release_artifact *artifact = &info->artifacts[i];
        const char *sha256 =
            output_is_terminal() ? output_short(arena, artifact->sha256) : artifact->sha256;
        output_table_row(table,
                         (const char *const[]){artifact->path, artifact->kind, artifact->target,
                                               output_size(arena, artifact->size_bytes), sha256});
    }
    output_table_end(table);
}

enum err_code release_print(const struct release_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_release_info, info, arena, err);
    output_field("release", "%s@%s", info->app, info->version);
    output_field("digest", "%s", info->digest);
    output_field("sequence", "%" PRIu64, info->sequence);
    output_field("created", "%s by %s", output_time(arena, info->created_ms), info->created_by);
    output_field("decision", "%" PRIu64, info->decision);
    output_field("size", "%s", output_size(arena, info->size_bytes));
    output_field("data version", "%" PRIu32, info->data_version);
    for (size_t i = 0; i < info->sources_len; i++)
        output_field("source", "%s %s", info->sources[i].repository, info->sources[i].commit);
    output_field("channels", "%s", join(arena, info->channels, info->channels_len));
    output_field("signers", "%s", join(arena, info->signers, info->signers_len));
    output_field("devices", "%" PRIu64, info->devices);
    for (size_t i = 0; i < info->services_len; i++)
        output_field("service", "%s", info->services[i]);
    for (size_t i = 0; i < info->checks_len; i++)
        output_field("check", "%s", info->checks[i]);
    print_artifacts(info, arena);
    return ERR_OK;
}

enum err_code cmd_release_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct release_query query;
    struct release_info info;
    if (release_query_parse(invocation->args[0], invocation->arena, &query, err) ||
        client_open(invocation, &client, err) ||
        release_ask(client, "show", &query, invocation->arena, &info, err))
        return err->code;
    return release_print(&info, invocation->arena, err);
}
