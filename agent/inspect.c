/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inspect.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/io/release_dir.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/trust.h"

enum {
    INSPECT_ARENA_MAX_BYTES = 16 << 20,
    PATH_BYTES = RELEASE_DIR_PATH_MAX + 1200,
    LINE_BYTES = 512
};

struct inspect {
    struct arena arena;
    struct utsname machine;
    struct root root;
    struct trust_target target;
    inspect_say_fn say;
};

static void begin(struct inspect *in, inspect_say_fn say)
{
    *in = (struct inspect){.say = say};
    arena_init(&in->arena, INSPECT_ARENA_MAX_BYTES);
    if (uname(&in->machine) != 0)
        in->machine.sysname[0] = in->machine.machine[0] = '\0';
    for (char *p = in->machine.sysname; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    in->target = (struct trust_target){
        .os = in->machine.sysname, .arch = in->machine.machine, .agent_version = CAPTAIN_VERSION};
}

static enum err_code read_root(struct inspect *in, const char *path, struct root *ret,
                               struct err *err)
{
    struct bytes envelope;
    enum err_code code = file_read(path, SIGN_ROOT_MAX_BYTES, &in->arena, &envelope, err);
    if (code != ERR_OK)
        return code;
    code = trust_root_anchor(envelope, &in->arena, ret, err);
    return code ? err_wrap(err, "%.200s", path) : ERR_OK;
}

static enum err_code take_root(struct inspect *in, struct err *err)
{
    char line[LINE_BYTES], when[32] = "never";
    enum err_code code = trust_root_fresh(&in->root, clock_unix_ms(), err);
    if (code != ERR_OK)
        return code;
    if (in->root.expires_ms > 0)
        str_format_time(in->root.expires_ms, when);
    (void)snprintf(line, sizeof line, "root: version %" PRIu64 " of tenant %s, ends %s",
                   in->root.version, in->root.tenant, when);
    in->say(line);
    return ERR_OK;
}

static void close_ref(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum err_code check_file(const char *path, const struct artifact *artifact, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    uint64_t size = 0;
    struct stat st;
    int fd DEFER(close_ref) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "%.300s is missing", path)
                               : err_sys(err, errno, "reading %.300s", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_HASH, "%.300s is no file", path);
    if ((uint64_t)st.st_size != artifact->size_bytes)
        return err_set(err, ERR_SIZE, "%.300s has %lld bytes, not %" PRIu64, path,
                       (long long)st.st_size, artifact->size_bytes);
    if (hash_file(fd, digest, &size, err) != ERR_OK)
        return err->code;
    if (!bytes_equal(bytes_of(digest, sizeof digest), artifact->sha256))
        return err_set(err, ERR_HASH, "%.300s is not what was signed", path);
    return ERR_OK;
}

static void say_release(const struct inspect *in, const struct release *release,
                        const uint8_t digest[static DIGEST_BYTES], unsigned files)
{
    char line[LINE_BYTES], hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(line, sizeof line,
                   "%s: %s, sequence %" PRIu64 ", sha256 %s, %u file%s as signed", release->app,
                   release->version, release->sequence, hex, files, files == 1 ? "" : "s");
    in->say(line);
}

/* ---- a release as a file ---- */

static enum err_code check_bundle(struct inspect *in, const char *folder,
                                  const struct release *release, unsigned *ret_files,
                                  struct err *err)
{
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        char hex[DIGEST_HEX];
        str_hex(artifact->sha256, hex);
        const char *path = arena_printf(&in->arena, "%s/artifacts/%s", folder, hex);
        if (!path)
            return err_set(err, ERR_SIZE, "the folder's name is too long");
        enum err_code code = check_file(path, artifact, err);
        if (code == ERR_NOT_FOUND && artifact->urls_len > 0)
            continue; /* it is fetched from elsewhere */
        if (code != ERR_OK)
            return code;
        (*ret_files)++;
    }
    return ERR_OK;
}

static enum err_code check_release(struct inspect *in, const char *path, struct err *err)
{
    struct trust_release_want want = {.digest = NULL};
    struct stat st;
    struct bytes envelope;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    unsigned files = 0;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *document = folder ? arena_printf(&in->arena, "%s/release.dsse", path) : path;
    if (!document)
        return err_set(err, ERR_SIZE, "the folder's name is too long");
    in->target.tenant = in->root.tenant;
    enum err_code code = file_read(document, SIGN_RELEASE_MAX_BYTES, &in->arena, &envelope, err);
    if (code != ERR_OK)
        return code;
    code = trust_check_release(&in->root, envelope, &want, &in->target, clock_unix_ms(), &in->arena,
                               &release, digest, err);
    if (code != ERR_OK)
        return err_wrap(err, "%.200s", document);
    if (folder && (code = check_bundle(in, path, &release, &files, err)))
        return code;
    say_release(in, &release, digest, files);
    return ERR_OK;
}

enum err_code inspect_release(const char *root_path, const char *path, inspect_say_fn say,
                              struct err *err)
{
    struct inspect in;
    begin(&in, say);
    enum err_code code = read_root(&in, root_path, &in.root, err);
    if (code == ERR_OK && (code = take_root(&in, err)) == ERR_OK)
        code = check_release(&in, path, err);
    arena_fini(&in.arena);
    return code;
}

/* ---- what is installed ---- */

static enum err_code check_files(struct inspect *in, const struct release_dir *dir,
                                 const uint8_t digest[DIGEST_BYTES], const struct release *release,
                                 unsigned *ret_files, struct err *err)
{
    char root[RELEASE_DIR_PATH_MAX], path[PATH_BYTES];
    release_dir_root(dir, digest, root);
    for (size_t i = 0; i < release->artifacts_len; i++) {
        const struct artifact *artifact = &release->artifacts[i];
        if (artifact->kind == ARTIFACT_KIND_TREE || !trust_artifact_fits(artifact, &in->target))
            continue;
        (void)snprintf(path, sizeof path, "%s/%.1100s", root, artifact->path);
        enum err_code code = check_file(path, artifact, err);
        if (code != ERR_OK)
            return code == ERR_NOT_FOUND ? err_set(err, ERR_HASH, "%.300s is missing", path) : code;
        (*ret_files)++;
    }
    return ERR_OK;
}

static enum err_code check_app(struct inspect *in, const struct config *config, const char *app,
                               struct err *err)
{
    struct release_dir dir;
    struct bytes envelope;
    struct release release;
    uint8_t digest[DIGEST_BYTES], again[DIGEST_BYTES];
    char path[RELEASE_DIR_PATH_MAX], line[LINE_BYTES];
    bool set = false;
    unsigned files = 0;
    enum err_code code;
    int len = snprintf(dir.path, sizeof dir.path, "%s/apps/%s", config->folder, app);
    if (len >= (int)sizeof dir.path)
        return err_set(err, ERR_SIZE, "the folder's name is too long");
    if ((code = release_dir_current(&dir, &set, digest, err)))
        return code;
    if (!set) {
        (void)snprintf(line, sizeof line, "%s: nothing is installed", app);
        in->say(line);
        return ERR_OK;
    }
    release_dir_document(&dir, digest, path);
    struct trust_release_want want = {.digest = digest};
    in->target.app = app;
    if ((code = file_read(path, SIGN_RELEASE_MAX_BYTES, &in->arena, &envelope, err)) ||
        (code = trust_check_installed(envelope, digest, app, &in->arena, &release, err)) ||
        (code = check_files(in, &dir, digest, &release, &files, err)))
        return code;
    say_release(in, &release, digest, files);
    code = trust_check_release(&in->root, envelope, &want, &in->target, clock_unix_ms(), &in->arena,
                               &release, again, err);
    return code ? err_wrap(err, "it runs on, but would not be installed today") : ERR_OK;
}

/* Of the two the newer counts, as for the agent. */
static enum err_code find_root(struct inspect *in, const struct config *config, struct err *err)
{
    const char *kept = arena_printf(&in->arena, "%s/root.dsse", config->folder);
    struct root anchor = {0}, newest = {0};
    enum err_code code = ERR_NOT_FOUND, kept_code = ERR_NOT_FOUND;
    if (config->root)
        code = read_root(in, config->root, &anchor, err);
    if (kept && access(kept, F_OK) == 0)
        kept_code = read_root(in, kept, &newest, err);
    if (code != ERR_OK && kept_code != ERR_OK)
        return err->code;
    if (code == ERR_OK && kept_code != ERR_OK && kept_code != ERR_NOT_FOUND)
        return kept_code;
    bool use_kept = kept_code == ERR_OK && (code != ERR_OK || newest.version >= anchor.version);
    in->root = use_kept ? newest : anchor;
    if (!str_equal(in->root.tenant, config->tenant))
        return err_set(err, ERR_WRONG_TARGET,
                       "the root document is of tenant \"%s\", this device belongs to \"%s\"",
                       in->root.tenant, config->tenant);
    return take_root(in, err);
}

enum err_code inspect_device(const struct config *config, inspect_say_fn say, struct err *err)
{
    struct inspect in;
    char line[LINE_BYTES + ERR_TEXT_MAX];
    begin(&in, say);
    enum err_code code = find_root(&in, config, err);
    in.target.tenant = config->tenant;
    in.target.hardware = config->hardware;
    for (size_t i = 0; i < config->apps_len; i++) {
        struct err why;
        if (in.root.roles_len == 0 || check_app(&in, config, config->apps[i].app, &why) == ERR_OK)
            continue;
        (void)snprintf(line, sizeof line, "%s: %s", config->apps[i].app, why.text);
        if (code != ERR_OK) {
            say(line);
            continue;
        }
        *err = why;
        code = err_wrap(err, "%s", config->apps[i].app);
    }
    arena_fini(&in.arena);
    return code;
}
