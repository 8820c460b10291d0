/* SPDX-License-Identifier: Apache-2.0
 *
 * captain token new | ls | revoke. The key pair of a token is made here; captain gets the public half,
 * and the other is printed once and kept nowhere.
 */
#include "captain/cli/token.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { LABELS_MAX = 32, USES_MAX = 1000000 };
#define AGENT_CONFIG "/etc/captain/agent.json"

/* "K=V,K=V" */
static enum err_code read_labels(struct invocation *invocation, struct token_new *ret,
                                 struct err *err)
{
    const char *given = invocation->flags[FLAG_LABELS];
    struct label *labels = arena_alloc(invocation->arena, LABELS_MAX * sizeof *labels);
    char *text = arena_strdup(invocation->arena, given ? given : "");
    char *rest = NULL;
    if (!labels || !text)
        return err_set(err, ERR_SIZE, "the labels are too long");
    for (char *label = strtok_r(text, ",", &rest); label; label = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(label, '=');
        if (!equals || equals == label || !equals[1] || ret->labels_len == LABELS_MAX) {
            err_set(err, ERR_USAGE, "--label %.100s is not KEY=VALUE, or one too many", label);
            return err_hint(err, "--label rack=3,role=gate; at most %d", LABELS_MAX);
        }
        *equals = '\0';
        labels[ret->labels_len++] = (struct label){.key = label, .value = equals + 1};
    }
    ret->labels = labels;
    return ERR_OK;
}

static enum err_code read_request(struct invocation *invocation, struct token_new *ret,
                                  struct err *err)
{
    const char *const *flags = invocation->flags;
    *ret = (struct token_new){.site = flags[FLAG_SITE],
                              .approval = flags[FLAG_APPROVE] != NULL,
                              .reason = flags[FLAG_REASON]};
    if (!ret->site || !str_is_token(ret->site)) {
        err_set(err, ERR_USAGE, "%s",
                ret->site ? "--site is not the name of a site" : "of which site are the devices?");
        return err_hint(err, "captain token new --site SITE");
    }
    if (flags[FLAG_TTL] && (str_duration_ms(flags[FLAG_TTL], &ret->ttl_ms) || ret->ttl_ms <= 0)) {
        err_set(err, ERR_USAGE, "--ttl %s is not a duration", flags[FLAG_TTL]);
        return err_hint(err, "--ttl 1h, --ttl 7d");
    }
    if (number_flag(invocation, FLAG_USES, USES_MAX, &ret->uses, err))
        return err->code;
    return read_labels(invocation, ret, err);
}

/* The only place that ever shows the secret half. */
struct made {
    const struct token_info *info;
    const char *token, *command;
};

static enum err_code print_json(const struct made *made, struct err *err)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "id", made->info->id, "token", made->token,
                  "url", made->info->url, "fingerprint", made->info->fingerprint, "command",
                  made->command, "expires_ms", (json_int_t)made->info->expires_ms);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_MALFORMED, "captain's answer is no text");
    output_encoded(text);
    sodium_memzero(text, strlen(text));
    free(text);
    return ERR_OK;
}

static enum err_code print_made(const struct made *made, struct arena *arena, struct err *err)
{
    const struct token_info *info = made->info;
    if (output_is_json())
        return print_json(made, err);
    output_field("token", "%s", made->token);
    output_field("site", "%s", info->site);
    output_field("uses", "%" PRIu32, info->uses);
    output_field("expires", "%s", output_time(arena, info->expires_ms));
    output_field("approval", "%s", info->approval ? "captain device approve, for each device" : "");
    output_line("%s", "");
    output_line("%s", made->command);
    output_note("the token is shown this once; on the device, as root:");
    return ERR_OK;
}

static enum err_code show(const struct token_made *token, struct arena *arena, struct err *err)
{
    const struct token_info *info = &token->info;
    const char *command =
        arena_printf(arena, "captain-agent enroll --url %s --token %s --fingerprint %s --config %s",
                     info->url, token->text, info->fingerprint, AGENT_CONFIG);
    const struct made made = {info, token->text, command};
    return command ? print_made(&made, arena, err)
                   : err_set(err, ERR_SIZE, "captain's answer is too long");
}

enum err_code token_make(struct client *client, const struct token_new *request,
                         struct arena *arena, struct token_made *ret, struct err *err)
{
    struct token_new whole = *request;
    struct join_token token;
    sign_key_new(&token.key);
    whole.public_key = bytes_of(token.key.public_key, SIGN_PUBLIC_BYTES);
    enum err_code code = client_call(client,
                                     &(struct client_call){"token", "new", &codec_token_new, &whole,
                                                           &codec_token_info, &ret->info},
                                     arena, err);
    if (code == ERR_OK && str_copy(token.id, sizeof token.id, ret->info.id) != ERR_OK)
        code = err_set(err, ERR_MALFORMED, "captain gave the token no id");
    if (code == ERR_OK)
        join_token_text(&token, ret->text);
    join_token_wipe(&token);
    return code;
}

enum err_code cmd_token_new(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct token_new request;
    struct token_made token;
    if (read_request(invocation, &request, err) || client_open(invocation, &client, err))
        return err->code;
    enum err_code code = token_make(client, &request, invocation->arena, &token, err);
    if (code == ERR_OK)
        code = show(&token, invocation->arena, err);
    sodium_memzero(token.text, sizeof token.text);
    return code;
}

/* Those there are. */

static const char *labels_text(const struct token_info *info, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < info->labels_len; i++)
        text = output_text(arena_printf(arena, "%s%s%s=%s", text, i ? "," : "", info->labels[i].key,
                                        info->labels[i].value));
    return text;
}

static void print_table(const struct token_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "TOKEN", "STATE", "SITE", "USED", "EXPIRES", "APPROVAL", "CREATED BY", "<LABELS", NULL});
    for (size_t i = 0; i < list->tokens_len; i++) {
        const struct token_info *info = &list->tokens[i];
        const bool open = str_equal(info->state, "open");
        output_table_row(
            table,
            (const char *const[]){
                info->id, info->state, info->site,
                output_text(arena_printf(arena, "%" PRIu32 " of %" PRIu32, info->used, info->uses)),
                output_second(arena, info->expires_ms), info->approval ? "needed" : "",
                info->created_by, labels_text(info, arena)});
        output_table_tone(table, 1, open ? OUTPUT_GOOD : OUTPUT_FAINT);
    }
    output_table_end(table);
}

enum err_code cmd_token_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct token_query query = {.id = ""};
    struct token_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"token", "ls", &codec_token_query, &query,
                                          &codec_token_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_token_list, &list, invocation->arena, err);
    if (list.tokens_len)
        print_table(&list, invocation->arena);
    else
        output_note("no join tokens; captain token new --site SITE");
    return ERR_OK;
}

enum err_code cmd_token_revoke(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct token_query query = {.id = invocation->args[0],
                                      .reason = invocation->flags[FLAG_REASON]};
    struct token_info info;
    if (strncmp(query.id, "captain-", 8) == 0) {
        err_set(err, ERR_USAGE, "that is the whole token, which is secret; its id is enough");
        return err_hint(err, "captain token ls");
    }
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"token", "revoke", &codec_token_query, &query,
                                          &codec_token_info, &info},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_token_info, &info, invocation->arena, err);
    output_line("token %s is %s; who came in with it stays", info.id, info.state);
    return ERR_OK;
}
