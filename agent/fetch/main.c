/* SPDX-License-Identifier: Apache-2.0
 *
 * captain-fetch: one piece of work, then the end: a transfer (--url, --to), or unpacking what stands
 * on its standard input (--unpack-to), which the agent has verified. Its words to the agent are in
 * agent/io/download.h. The exit status is 0, or the error's code.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/fetch/sandbox.h"
#include "agent/fetch/transfer.h"
#include "agent/fetch/unpack.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum {
    PROGRESS_MS = 500,
    CA_MAX_BYTES = 1 << 20,
    LINE_MAX_BYTES = 700,
    SIDE_FILE_BYTES = 64 << 10,
    PROVEN_MAX_BYTES = 64 << 10, /* fetched from a server that nobody vouches for */
};

/* The command line. */
struct order {
    const char *urls[TRANSFER_URLS_MAX + 1];
    int urls_len;
    const char *to;
    const char *unpack_to;
    const char *ca_path;
    const char *user;
    uint64_t max_bytes, size_bytes;
    uint64_t unpack_bytes_max, unpack_files_max;
    uint64_t low_speed_bytes, low_speed_s;
    bool has_sha256;
    uint8_t sha256[DIGEST_BYTES];
    bool hash_later, hash_is_proof;
};

/* What is opened before privileges are given away. */
struct places {
    int folder_fd;
    const char *name; /* of the result in it */
    struct bytes ca_pem;
};

/* ---- words to the agent ---- */

static void say(const char *line)
{
    size_t len = strlen(line);
    while (len > 0) {
        ssize_t put = write(STDOUT_FILENO, line, len);
        if (put < 0 && errno != EINTR)
            return; /* nobody listens any more; what is on disk stays for the next run */
        if (put > 0) {
            line += put;
            len -= (size_t)put;
        }
    }
}

static int say_error(const struct err *err)
{
    char text[ERR_TEXT_MAX];
    char line[LINE_MAX_BYTES];
    (void)snprintf(text, sizeof text, "%s", err->text);
    for (char *c = text; *c != '\0'; c++)
        *c = (char)(*c == '\n' || *c == '\r' ? ' ' : *c);
    (void)snprintf(line, sizeof line, "error %d %s\n", (int)err->code, text);
    say(line);
    return (int)err->code;
}

static int say_done(uint64_t done_bytes)
{
    char line[LINE_MAX_BYTES];
    (void)snprintf(line, sizeof line, "done %" PRIu64 "\n", done_bytes);
    say(line);
    return 0;
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    int64_t *said_ms = arg;
    char line[LINE_MAX_BYTES];
    int64_t now_ms = clock_mono_ms();
    if (now_ms - *said_ms < PROGRESS_MS)
        return;
    *said_ms = now_ms;
    (void)snprintf(line, sizeof line, "progress %" PRIu64 " %" PRIu64 "\n", done_bytes,
                   total_bytes);
    say(line);
}

/* ---- command line ---- */

enum option_key {
    KEY_URL = 1,
    KEY_TO,
    KEY_MAX_BYTES,
    KEY_SIZE,
    KEY_SHA256,
    KEY_UNPACK_TO,
    KEY_UNPACK_BYTES_MAX,
    KEY_UNPACK_FILES_MAX,
    KEY_HASH_LATER,
    KEY_HASH_IS_PROOF,
    KEY_LOW_SPEED,
    KEY_CA,
    KEY_USER,
};

static const struct option OPTIONS[] = {
    {"url", required_argument, NULL, KEY_URL},
    {"to", required_argument, NULL, KEY_TO},
    {"max-bytes", required_argument, NULL, KEY_MAX_BYTES},
    {"size", required_argument, NULL, KEY_SIZE},
    {"sha256", required_argument, NULL, KEY_SHA256},
    {"unpack-to", required_argument, NULL, KEY_UNPACK_TO},
    {"unpack-bytes-max", required_argument, NULL, KEY_UNPACK_BYTES_MAX},
    {"unpack-files-max", required_argument, NULL, KEY_UNPACK_FILES_MAX},
    {"hash-later", no_argument, NULL, KEY_HASH_LATER},
    {"hash-is-proof", no_argument, NULL, KEY_HASH_IS_PROOF},
    {"low-speed", required_argument, NULL, KEY_LOW_SPEED},
    {"ca", required_argument, NULL, KEY_CA},
    {"user", required_argument, NULL, KEY_USER},
    {NULL, 0, NULL, 0},
};

/* "bytes/seconds" */
static bool read_low_speed(struct order *order, const char *text)
{
    char left[TOKEN_MAX + 1];
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof left)
        return false;
    memcpy(left, text, (size_t)(slash - text));
    left[slash - text] = '\0';
    return str_u64(left, UINT32_MAX, &order->low_speed_bytes) == ERR_OK &&
           str_u64(slash + 1, UINT32_MAX, &order->low_speed_s) == ERR_OK;
}

static bool add_url(struct order *order, const char *url)
{
    if (order->urls_len == TRANSFER_URLS_MAX)
        return false;
    order->urls[order->urls_len++] = url;
    return true;
}

static bool read_number(struct order *order, int key, const char *value)
{
    switch (key) {
    case KEY_MAX_BYTES:
        return str_u64(value, INT64_MAX, &order->max_bytes) == ERR_OK;
    case KEY_SIZE:
        return str_u64(value, INT64_MAX, &order->size_bytes) == ERR_OK;
    case KEY_UNPACK_BYTES_MAX:
        return str_u64(value, INT64_MAX, &order->unpack_bytes_max) == ERR_OK;
    case KEY_UNPACK_FILES_MAX:
        return str_u64(value, INT32_MAX, &order->unpack_files_max) == ERR_OK;
    case KEY_LOW_SPEED:
        return read_low_speed(order, value);
    default:
        return false;
    }
}

static bool read_option(struct order *order, int key, const char *value)
{
    switch (key) {
    case KEY_URL:
        return add_url(order, value);
    case KEY_TO:
        order->to = value;
        return true;
    case KEY_SHA256:
        order->has_sha256 = true;
        return strlen(value) == DIGEST_HEX - 1 &&
               str_unhex(value, order->sha256, DIGEST_BYTES) == ERR_OK;
    case KEY_UNPACK_TO:
        order->unpack_to = value;
        return true;
    case KEY_HASH_LATER:
        order->hash_later = true;
        return true;
    case KEY_HASH_IS_PROOF:
        order->hash_is_proof = true;
        return true;
    case KEY_CA:
        order->ca_path = value;
        return true;
    case KEY_USER:
        order->user = value;
        return true;
    default:
        return read_number(order, key, value);
    }
}

static enum err_code check_order(const struct order *order, struct err *err)
{
    bool fetches = order->urls_len > 0 && order->to != NULL && order->max_bytes > 0;
    bool unpacks = order->unpack_to != NULL && order->urls_len == 0 && order->to == NULL;
    if (fetches == unpacks || (fetches && order->unpack_to != NULL))
        return err_set(err, ERR_USAGE,
                       "captain-fetch needs --url, --to and --max-bytes, or --unpack-to alone");
    if (order->hash_is_proof &&
        (!order->has_sha256 || order->hash_later || order->max_bytes > PROVEN_MAX_BYTES))
        return err_set(err, ERR_USAGE,
                       "--hash-is-proof needs --sha256 now, and --max-bytes of at most %d",
                       PROVEN_MAX_BYTES);
    return ERR_OK;
}

static enum err_code read_order(int argc, char **argv, struct order *order, struct err *err)
{
    int index = 0;
    opterr = 0;
    for (int key = getopt_long(argc, argv, "", OPTIONS, &index); key != -1;
         key = getopt_long(argc, argv, "", OPTIONS, &index)) {
        if (key == '?')
            return err_set(err, ERR_USAGE, "%s is no option of captain-fetch", argv[optind - 1]);
        if (!read_option(order, key, optarg))
            return err_set(err, ERR_USAGE, "--%s %s cannot be used", OPTIONS[index].name,
                           optarg != NULL ? optarg : "");
    }
    return optind == argc ? check_order(order, err)
                          : err_set(err, ERR_USAGE, "\"%s\" is too much", argv[optind]);
}

/* ---- the work ---- */

static enum err_code open_folder(const char *path, int *ret_fd, const char **ret_name,
                                 struct err *err)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof folder || !str_is_inner_path(name))
        return err_set(err, ERR_USAGE, "%s names no file", path);
    memcpy(folder, path, len);
    folder[len] = '\0';
    const char *at = slash == NULL ? "." : len == 0 ? "/" : folder;
    int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s", at);
    *ret_fd = fd;
    *ret_name = name;
    return ERR_OK;
}

static enum err_code open_places(const struct order *order, struct arena *arena,
                                 struct places *places, struct err *err)
{
    const char *goal = order->unpack_to != NULL ? order->unpack_to : order->to;
    enum err_code code = open_folder(goal, &places->folder_fd, &places->name, err);
    if (code == ERR_OK && order->ca_path != NULL)
        code = file_read(order->ca_path, CA_MAX_BYTES, arena, &places->ca_pem, err);
    return code;
}

static enum err_code unpack(const struct order *order, const struct places *places,
                            uint64_t *ret_bytes, struct err *err)
{
    struct unpack_options options = {
        .archive_fd = STDIN_FILENO,
        .folder_fd = places->folder_fd,
        .name = places->name,
        .bytes_max = order->unpack_bytes_max,
        .files_max = (uint32_t)order->unpack_files_max,
    };
    sandbox_no_processes();
    return unpack_run(&options, ret_bytes, err);
}

static enum err_code transfer(const struct order *order, const struct places *places,
                              uint64_t *ret_bytes, struct err *err)
{
    int64_t said_ms = clock_mono_ms();
    struct transfer_options options = {
        .urls = order->urls,
        .folder_fd = places->folder_fd,
        .name = places->name,
        .max_bytes = order->max_bytes,
        .size_bytes = order->size_bytes,
        .sha256 = order->has_sha256 ? order->sha256 : NULL,
        .low_speed_bytes = (uint32_t)order->low_speed_bytes,
        .low_speed_s = (uint32_t)order->low_speed_s,
        .ca_pem = places->ca_pem,
        .hash_later = order->hash_later,
        .hash_is_proof = order->hash_is_proof,
        .progress = on_progress,
        .arg = &said_ms,
    };
    int fd = -1;
    enum err_code code = transfer_run(&options, &fd, ret_bytes, err);
    if (fd >= 0)
        (void)close(fd);
    return code;
}

static enum err_code run(const struct order *order, struct arena *arena, uint64_t *ret_bytes,
                         struct err *err)
{
    struct places places = {.folder_fd = -1};
    uint64_t largest =
        order->max_bytes > order->unpack_bytes_max ? order->max_bytes : order->unpack_bytes_max;
    /* The side file of a small one is larger than it. */
    enum err_code code = sandbox_prepare(largest + SIDE_FILE_BYTES, err);
    if (code == ERR_OK)
        code = open_places(order, arena, &places, err);
    if (code == ERR_OK)
        code = sandbox_enter(order->user, err);
    if (code == ERR_OK)
        code = order->unpack_to != NULL ? unpack(order, &places, ret_bytes, err)
                                        : transfer(order, &places, ret_bytes, err);
    if (places.folder_fd >= 0)
        (void)close(places.folder_fd);
    return code;
}

int main(int argc, char **argv)
{
    struct order order = {.low_speed_bytes = 1000, .low_speed_s = 30};
    struct err err = {.code = ERR_OK};
    struct arena arena;
    uint64_t done_bytes = 0;
    (void)setlocale(LC_CTYPE,
                    "C.UTF-8"); /* names in archives are UTF-8, whatever the device's language */
    arena_init(&arena, CA_MAX_BYTES + 4096);
    enum err_code code = read_order(argc, argv, &order, &err);
    if (code == ERR_OK)
        code = run(&order, &arena, &done_bytes, &err);
    arena_fini(&arena);
    return code == ERR_OK ? say_done(done_bytes) : say_error(&err);
}
