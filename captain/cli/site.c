/* SPDX-License-Identifier: Apache-2.0
 *
 * captain site windows | ls
 */
#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"

static enum err_code print_all(const struct site_list *list, struct arena *arena, struct err *err)
{
    static const char *const headings[] = {"SITE", "WINDOWS", "NOW", "SET BY", NULL};
    if (output_is_json())
        return output_message(&codec_site_list, list, arena, err);
    if (list->sites_len == 0) {
        output_line("no site has maintenance windows: devices may be changed at any time");
        return ERR_OK;
    }
    struct output_table *table = output_table_new(headings);
    for (size_t i = 0; i < list->sites_len; i++) {
        const struct site_info *site = &list->sites[i];
        const char *now =
            site->closes_ms
                ? arena_printf(arena, "open until %s", output_time(arena, site->closes_ms))
            : site->opens_ms ? arena_printf(arena, "opens %s", output_time(arena, site->opens_ms))
                             : "closed";
        const char *const cells[] = {site->site, site->windows, now ? now : "", site->set_by};
        output_table_row(table, cells);
    }
    output_table_end(table);
    return ERR_OK;
}

static enum err_code call(struct invocation *invocation, const char *verb,
                          const struct site_change *request, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct site_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"site", verb, &codec_site_change, request,
                                          &codec_site_list, &list},
                    invocation->arena, err))
        return err->code;
    return print_all(&list, invocation->arena, err);
}

enum err_code cmd_site_windows(struct invocation *invocation, struct err *err)
{
    const char *windows = invocation->args[1];
    const struct site_change request = {.site = invocation->args[0],
                                        .windows = str_equal(windows, "none") ? "" : windows,
                                        .reason = invocation->flags[FLAG_REASON]};
    return call(invocation, "windows", &request, err);
}

enum err_code cmd_site_ls(struct invocation *invocation, struct err *err)
{
    const struct site_change request = {.site = ""};
    return call(invocation, "ls", &request, err);
}
