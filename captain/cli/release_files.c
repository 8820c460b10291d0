/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/release_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "captain/cli/pack.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

struct prepare {
    const struct release_yaml *yaml;
    const char *folder; /* of the yaml file */
    struct arena *arena;
    struct release_files *files;
    struct err *err;
};

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_SIZE, "the release is too large to describe");
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum err_code keep_digest(struct prepare *prepare, struct artifact *artifact,
                                 const uint8_t *digest)
{
    void *copy = arena_dup(prepare->arena, digest, DIGEST_BYTES);
    artifact->sha256 = bytes_of(copy, DIGEST_BYTES);
    return copy ? ERR_OK : too_large(prepare->err);
}

static enum err_code prepare_file(struct prepare *prepare, const char *path,
                                  struct artifact *artifact)
{
    uint8_t digest[DIGEST_BYTES];
    int fd DEFER(close_fd) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(prepare->err, errno, "cannot read %s", path);
    if (hash_file(fd, digest, &artifact->size_bytes, prepare->err))
        return err_wrap(prepare->err, "%s", path);
    artifact->kind = ARTIFACT_KIND_FILE;
    return keep_digest(prepare, artifact, digest);
}

static enum err_code make_temp(struct prepare *prepare)
{
    if (prepare->files->temp)
        return ERR_OK;
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/captain-XXXXXX", base && base[0] ? base : "/tmp");
    if (len < 0 || (size_t)len >= sizeof path || !mkdtemp(path))
        return err_sys(prepare->err, errno, "cannot make a folder in %s",
                       base && base[0] ? base : "/tmp");
    prepare->files->temp = mem_strdup(path);
    return ERR_OK;
}

static enum err_code prepare_tree(struct prepare *prepare, const char *path,
                                  struct artifact *artifact, struct release_file *file)
{
    struct pack pack;
    if (make_temp(prepare))
        return prepare->err->code;
    file->path =
        arena_printf(prepare->arena, "%s/%zu.tar.zst", prepare->files->temp, prepare->files->len);
    if (!file->path)
        return too_large(prepare->err);
    output_progress("packing %s", file->label);
    if (pack_tree(path, file->path, &pack, prepare->err))
        return prepare->err->code;
    artifact->kind = ARTIFACT_KIND_TREE;
    artifact->size_bytes = pack.size_bytes;
    artifact->unpacked_bytes_max = pack.unpacked_bytes;
    artifact->unpacked_files_max = pack.entries;
    return keep_digest(prepare, artifact, pack.sha256);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum err_code prepare_local(struct prepare *prepare,
                                   const struct release_yaml_artifact *from,
                                   struct artifact *artifact, struct release_file *file)
{
    struct stat st;
    const char *path = from->path[0] == '/'
                           ? from->path
                           : arena_printf(prepare->arena, "%s/%s", prepare->folder, from->path);
    if (!path)
        return too_large(prepare->err);
    if (stat(path, &st)) {
        yaml_complain(prepare->err, prepare->yaml->name, from->place, "cannot read %s: %s",
                      from->path, strerror(errno));
        return err_hint(prepare->err, "paths count from the folder of %s",
                        last_part(prepare->yaml->name));
    }
    file->label = from->path;
    file->path = path;
    if (S_ISDIR(st.st_mode)) {
        artifact->path = from->to ? from->to : ".";
        return prepare_tree(prepare, path, artifact, file);
    }
    if (!S_ISREG(st.st_mode))
        return yaml_complain(prepare->err, prepare->yaml->name, from->place,
                             "%s is neither file nor folder", from->path);
    artifact->path = from->to ? from->to : last_part(from->path);
    artifact->executable = from->executable || (st.st_mode & S_IXUSR);
    return prepare_file(prepare, path, artifact);
}

static enum err_code check_hash(struct prepare *prepare, const struct release_yaml_artifact *from,
                                const struct artifact *artifact)
{
    char hex[DIGEST_HEX];
    str_hex(artifact->sha256, hex);
    if (from->sha256 && !str_equal(from->sha256, hex)) {
        yaml_complain(prepare->err, prepare->yaml->name, from->place,
                      "%s has another sha256 than it must", from->path);
        return err_hint(prepare->err, "it is %s", hex);
    }
    if (from->size_bytes && from->size_bytes != artifact->size_bytes)
        return yaml_complain(prepare->err, prepare->yaml->name, from->place,
                             "%s has %llu bytes and not %llu", from->path,
                             (unsigned long long)artifact->size_bytes,
                             (unsigned long long)from->size_bytes);
    return ERR_OK;
}

static enum err_code prepare_remote(struct prepare *prepare,
                                    const struct release_yaml_artifact *from,
                                    struct artifact *artifact)
{
    uint8_t digest[DIGEST_BYTES];
    if (str_unhex(from->sha256, digest, sizeof digest))
        return yaml_complain(prepare->err, prepare->yaml->name, from->place,
                             "sha256 has no 64 digits");
    artifact->kind = ARTIFACT_KIND_FILE;
    artifact->path = from->to;
    artifact->size_bytes = from->size_bytes;
    artifact->executable = from->executable;
    return keep_digest(prepare, artifact, digest);
}

static enum err_code prepare_url(struct prepare *prepare, const struct release_yaml_artifact *from,
                                 struct artifact *artifact, struct release_file *file)
{
    const char **urls = arena_alloc(prepare->arena, sizeof *urls);
    if (!urls)
        return too_large(prepare->err);
    urls[0] = from->url;
    artifact->urls = urls;
    artifact->urls_len = 1;
    file->path = NULL; /* the URL is where it is served from; the file here was for its hash */
    return ERR_OK;
}

static enum err_code prepare_one(struct prepare *prepare, const struct release_yaml_artifact *from)
{
    struct release_files *files = prepare->files;
    struct artifact *artifact = &files->artifacts[files->len];
    struct release_file *file = &files->files[files->len];
    *artifact = (struct artifact){.os = from->os, .arch = from->arch, .hardware = from->hardware};
    *file = (struct release_file){NULL, from->url};
    enum err_code code = from->path ? prepare_local(prepare, from, artifact, file)
                                    : prepare_remote(prepare, from, artifact);
    if (code || check_hash(prepare, from, artifact))
        return prepare->err->code;
    if (from->url && prepare_url(prepare, from, artifact, file))
        return prepare->err->code;
    files->len++;
    return ERR_OK;
}

enum err_code release_files_prepare(const struct release_yaml *yaml, const char *yaml_path,
                                    struct arena *arena, struct release_files *ret, struct err *err)
{
    const char *slash = strrchr(yaml_path, '/');
    const char *folder =
        slash ? arena_printf(arena, "%.*s", (int)(slash - yaml_path), yaml_path) : ".";
    if (!folder)
        return too_large(err);
    if (slash == yaml_path)
        folder = "/";
    struct prepare prepare = {yaml, folder, arena, ret, err};
    for (size_t i = 0; i < yaml->artifacts_len; i++)
        if (prepare_one(&prepare, &yaml->artifacts[i]))
            return err->code;
    output_progress("%s", "");
    return ERR_OK;
}

void release_files_fini(struct release_files *files)
{
    if (files->temp && file_remove_tree(files->temp, NULL))
        output_note("could not remove %s", files->temp);
    mem_free(files->temp);
    files->temp = NULL;
}
