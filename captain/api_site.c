/* SPDX-License-Identifier: Apache-2.0
 *
 * site.windows | ls: when devices of a site may be changed.
 */
#include "captain/api_private.h"
#include "captain/io/windows.h"
#include "common/clock.h"

enum { AHEAD_MAX = 64 };
#define AHEAD_MS (14 * INT64_C(86400000))

enum err_code api_site_prepare(struct api_request *request, struct arena *arena,
                               struct decision *ret, struct err *err)
{
    const struct site_change *in = &request->in.site;
    const struct site_windows site = {.site = in->site, .windows = in->windows};
    if (!str_is_token(in->site)) {
        (void)err_set(err, ERR_USAGE, "'%s' is not the name of a site", in->site);
        return err_hint(err, "captain device ls shows the sites there are");
    }
    enum err_code code = in->windows[0] ? windows_check(in->windows, err) : ERR_OK;
    if (code != ERR_OK)
        return err_hint(err, "captain site windows %s 'mon-fri 01:00-05:00 Europe/Paris'",
                        in->site);
    code = api_demand_reason(in->reason, "a maintenance window", err);
    if (code != ERR_OK)
        return code;
    *ret = (struct decision){
        .actor = request->actor, .kind = "site.windows", .subject = in->site, .reason = in->reason};
    return codec_encode(&codec_site_windows, &site, arena, &ret->body, err);
}

/* Open now, or when next. */
static void describe(struct site_info *site, int64_t now_ms)
{
    struct lease_window list[AHEAD_MAX];
    struct lease_site now = {.windowed = true, .windows = list};
    struct err err = {0};
    int64_t change_ms = 0;
    if (windows_between(site->windows, now_ms, now_ms + AHEAD_MS, list, AHEAD_MAX, &now.windows_len,
                        &err) != ERR_OK)
        return; /* its zone is gone: closed, as the text itself shows */
    if (lease_window_open(&now, now_ms, &change_ms))
        site->closes_ms = change_ms;
    else
        site->opens_ms = change_ms;
}

enum err_code api_site_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    struct site_info *sites = NULL;
    size_t len = 0;
    const int64_t now_ms = clock_unix_ms();
    const enum err_code code =
        store_site_list(request->captain->db, &request->arena, &sites, &len, err);
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        describe(&sites[i], now_ms);
    ret->site_list = (struct site_list){.sites = sites, .sites_len = len};
    return code;
}
