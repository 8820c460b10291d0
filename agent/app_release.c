/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_release.h"

#include <string.h>

#include "common/file.h"
#include "common/sign.h"

enum { RELEASE_ARENA_MAX_BYTES = 8 << 20 };

static enum err_code read_document(const struct app_release_input *input,
                                   const uint8_t digest[DIGEST_BYTES], struct arena *arena,
                                   struct bytes *ret, struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    release_dir_document(input->dir, digest, path);
    return file_read(path, SIGN_RELEASE_MAX_BYTES, arena, ret, err);
}

static void make_plan(struct app_release *r, const struct app_release_input *input)
{
    char root[RELEASE_DIR_PATH_MAX], state[RELEASE_DIR_PATH_MAX];
    release_dir_root(input->dir, r->digest, root);
    release_dir_state(input->dir, state);
    struct app_plan_input plan = {
        .config = input->config,
        .app = input->app,
        .release = &r->release,
        .root = arena_strdup(&r->arena, root),
        .state = arena_strdup(&r->arena, state),
        .logs = input->logs,
        .flags = input->flags,
        .flags_env = input->flags_env,
        .secrets = input->secrets,
        .user = input->user,
    };
    if (!plan.root || !plan.state)
        (void)err_set(&r->plan_err, ERR_SIZE, "the release document is too large");
    else
        r->planned = app_plan_make(&plan, &r->arena, &r->plan, &r->plan_err) == ERR_OK;
}

enum err_code app_release_load(struct app_release *r, const struct app_release_input *input,
                               const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    struct arena scratch; /* the envelope; the document needs only what is decoded from it */
    struct bytes envelope;
    app_release_clear(r);
    arena_init(&scratch, RELEASE_ARENA_MAX_BYTES);
    arena_init(&r->arena, RELEASE_ARENA_MAX_BYTES);
    enum err_code code = read_document(input, digest, &scratch, &envelope, err);
    if (code == ERR_OK)
        code =
            trust_check_installed(envelope, digest, input->app->app, &r->arena, &r->release, err);
    arena_fini(&scratch);
    if (code != ERR_OK) {
        app_release_clear(r);
        return code;
    }
    memcpy(r->digest, digest, DIGEST_BYTES);
    r->set = true;
    make_plan(r, input);
    return ERR_OK;
}

void app_release_clear(struct app_release *r)
{
    arena_fini(&r->arena);
    *r = (struct app_release){0};
}

enum err_code app_release_check(const struct app_release_input *input,
                                const uint8_t digest[DIGEST_BYTES], int64_t now_ms,
                                uint32_t *ret_data_version, uint32_t *ret_confirm_ms,
                                struct err *err)
{
    struct arena arena;
    struct bytes envelope;
    struct release release;
    arena_init(&arena, RELEASE_ARENA_MAX_BYTES);
    enum err_code code = read_document(input, digest, &arena, &envelope, err);
    if (code == ERR_OK)
        code = trust_release(input->trust, envelope, digest, input->app->app, now_ms, &arena,
                             &release, err);
    if (code == ERR_OK) {
        *ret_data_version = release.data_version;
        *ret_confirm_ms = release.confirm_ms;
    }
    arena_fini(&arena);
    return code;
}

enum err_code app_release_verify(const struct app_release_input *input,
                                 const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    struct arena arena;
    struct bytes envelope;
    struct release release;
    arena_init(&arena, RELEASE_ARENA_MAX_BYTES);
    enum err_code code = read_document(input, digest, &arena, &envelope, err);
    if (code == ERR_OK)
        code = trust_check_installed(envelope, digest, input->app->app, &arena, &release, err);
    arena_fini(&arena);
    return code;
}
