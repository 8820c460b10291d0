/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fetch/transfer.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/fetch/partial.h"
#include "common/base/mem.h"

enum {
    BUFFER_BYTES = 512 << 10,
    HEADERS_MAX_BYTES = 128 << 10, /* of all responses of one URL together */
    IGNORED_MAX_BYTES = 64 << 10,  /* of the body of a response that is not the file */
    SHOWN_URL_MAX = 200,
    PASSES_MAX = 2, /* a resume that turned out wrong is followed by one fresh start */
};

struct transfer {
    const struct transfer_options *options;
    struct partial partial;
    CURL *curl;
    const char *url; /* of the list: what the side file remembers */
    bool stopped;    /* we ended the request ourselves, err says why */
    struct err err;
    /* of the response being read */
    bool accepted;
    size_t header_bytes;
    size_t ignored_bytes;
    char etag[PARTIAL_VALIDATOR_MAX];
    char modified[PARTIAL_VALIDATOR_MAX];
    bool has_range;
    uint64_t range_start;
    uint64_t range_total; /* 0: not said */
    uint64_t total_bytes; /* 0: unknown */
};

/* ---- the response ---- */

static size_t stop(struct transfer *t)
{
    t->stopped = true;
    return 0; /* what curl's callbacks return to end the request */
}

static uint64_t limit_bytes(const struct transfer_options *options)
{
    bool exact = options->size_bytes != 0 && options->size_bytes < options->max_bytes;
    return exact ? options->size_bytes : options->max_bytes;
}

static void header_value(const char *line, size_t len, const char *name, char *ret, size_t ret_size)
{
    size_t name_len = strlen(name);
    if (len <= name_len || strncasecmp(line, name, name_len) != 0)
        return;
    const char *from = line + name_len;
    const char *end = line + len;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && strchr(" \t\r\n", end[-1]) != NULL)
        end--;
    ret[0] = '\0';
    if ((size_t)(end - from) < ret_size) {
        memcpy(ret, from, (size_t)(end - from));
        ret[end - from] = '\0';
    }
}

/* "bytes 5-9/10" or "bytes 5-9/STAR". */
static void read_range(struct transfer *t, const char *value)
{
    uint64_t last = 0;
    int used = 0;
    t->has_range =
        sscanf(value, "bytes %" SCNu64 "-%" SCNu64 "/%n", &t->range_start, &last, &used) == 2 &&
        used > 0 && last >= t->range_start;
    if (!t->has_range || str_u64(value + used, UINT64_MAX, &t->range_total) != ERR_OK)
        t->range_total = 0;
}

static enum err_code check_total(struct transfer *t, struct err *err)
{
    const struct transfer_options *options = t->options;
    if (t->total_bytes == 0)
        return ERR_OK;
    if (options->size_bytes != 0 && t->total_bytes != options->size_bytes)
        return err_set(err, ERR_SIZE, "the server has %" PRIu64 " bytes, must be %" PRIu64,
                       t->total_bytes, options->size_bytes);
    if (t->total_bytes > options->max_bytes)
        return err_set(err, ERR_SIZE,
                       "the server has %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
                       t->total_bytes, options->max_bytes);
    return ERR_OK;
}

static enum err_code check_room(struct transfer *t, struct err *err)
{
    struct statvfs fs;
    if (t->total_bytes <= t->partial.size_bytes || fstatvfs(t->options->folder_fd, &fs) != 0)
        return ERR_OK;
    uint64_t needed = t->total_bytes - t->partial.size_bytes;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed <= free_bytes)
        return ERR_OK;
    return err_set(err, ERR_NO_SPACE, "%" PRIu64 " more bytes are needed, %" PRIu64 " are free",
                   needed, free_bytes);
}

/* If-Range takes a strong ETag, or the date. */
static const char *validator_of(const struct transfer *t)
{
    bool strong = t->etag[0] == '"';
    return strong ? t->etag : t->modified;
}

/* 206: exactly the rest that was asked for. */
static enum err_code accept_rest(struct transfer *t, struct err *err)
{
    t->total_bytes = t->range_total;
    if (t->has_range && t->partial.size_bytes > 0 && t->range_start == t->partial.size_bytes)
        return check_total(t, err);
    enum err_code code = partial_restart(&t->partial, err); /* the next try asks for everything */
    return code != ERR_OK
               ? code
               : err_set(err, ERR_NO_CONTACT, "the server sent another range than asked for");
}

/* 200: the file from its start, whatever was asked for. */
static enum err_code accept_whole(struct transfer *t, struct err *err)
{
    curl_off_t length = -1;
    (void)curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->total_bytes = length > 0 ? (uint64_t)length : 0;
    enum err_code code = check_total(t, err);
    if (code == ERR_OK)
        code = partial_restart(&t->partial, err);
    if (code == ERR_OK)
        code = partial_set_origin(&t->partial, t->url, validator_of(t), err);
    return code;
}

static size_t on_headers_end(struct transfer *t, size_t len)
{
    long status = 0;
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206)
        return len;
    enum err_code code = status == 206 ? accept_rest(t, &t->err) : accept_whole(t, &t->err);
    if (code == ERR_OK)
        code = check_room(t, &t->err);
    t->accepted = code == ERR_OK;
    return t->accepted ? len : stop(t);
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    (void)one;
    struct transfer *t = arg;
    char range[PARTIAL_VALIDATOR_MAX] = "";
    t->header_bytes += len;
    if (t->header_bytes > HEADERS_MAX_BYTES) {
        (void)err_set(&t->err, ERR_SIZE, "the server sent more than %d bytes of headers",
                      HEADERS_MAX_BYTES);
        return stop(t);
    }
    if (t->accepted)
        return len; /* a trailer */
    if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
        t->etag[0] = t->modified[0] = '\0';
        t->has_range = false;
    }
    header_value(line, len, "etag:", t->etag, sizeof t->etag);
    header_value(line, len, "last-modified:", t->modified, sizeof t->modified);
    header_value(line, len, "content-range:", range, sizeof range);
    if (range[0] != '\0')
        read_range(t, range);
    bool end = len == 0 || line[0] == '\r' || line[0] == '\n';
    return end ? on_headers_end(t, len) : len;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    (void)one;
    struct transfer *t = arg;
    if (!t->accepted) {
        /* The page of an error or a redirect: read past, within reason. */
        t->ignored_bytes += len;
        return t->ignored_bytes <= IGNORED_MAX_BYTES ? len : 0;
    }
    uint64_t limit = limit_bytes(t->options);
    if (len > limit - t->partial.size_bytes) {
        if (partial_restart(&t->partial, &t->err) == ERR_OK)
            (void)err_set(&t->err, ERR_SIZE, "the server sent more than %" PRIu64 " bytes", limit);
        return stop(t);
    }
    if (partial_append(&t->partial, data, len, &t->err) != ERR_OK)
        return stop(t);
    if (t->options->progress != NULL)
        t->options->progress(t->options->arg, t->partial.size_bytes, t->total_bytes);
    return len;
}

/* ---- what went wrong ---- */

static enum err_code status_error(long status, struct err *err)
{
    switch (status) {
    case 404:
    case 410:
        return err_set(err, ERR_NOT_FOUND, "http %ld: the server does not have it", status);
    case 401:
    case 403:
    case 407:
        return err_set(err, ERR_DENIED, "http %ld: the server does not give it to us", status);
    default:
        return err_set(
            err, status == 408 || status == 429 || status >= 500 ? ERR_NO_CONTACT : ERR_FAILED,
            "http %ld", status);
    }
}

static enum err_code curl_error(struct transfer *t, CURLcode rc, struct err *err)
{
    curl_off_t connected = 0;
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        (void)curl_easy_getinfo(t->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
        if (connected == 0)
            return err_set(err, ERR_NO_CONTACT, "no connection within %d s",
                           TRANSFER_CONNECT_TIMEOUT_S);
        return err_set(err, ERR_TOO_SLOW, "slower than %u bytes/s for %u s",
                       t->options->low_speed_bytes, t->options->low_speed_s);
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, ERR_DENIED, "only http and https are fetched");
    case CURLE_URL_MALFORMAT:
        return err_set(err, ERR_MALFORMED, "the address cannot be read");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(err, ERR_DENIED, "the server's certificate is not trusted");
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        return err_set(err, ERR_NO_CONTACT, "the connection ended after %" PRIu64 " bytes",
                       t->partial.size_bytes);
    default:
        return err_set(err, ERR_NO_CONTACT, "%s", curl_easy_strerror(rc));
    }
}

/* Without what may be a secret: user, password, query. */
static void shown_url(const char *url, char ret[static SHOWN_URL_MAX])
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    const char *at = memchr(host, '@', strcspn(host, "/?#"));
    const char *from = at != NULL ? at + 1 : host;
    (void)snprintf(ret, SHOWN_URL_MAX, "%.*s%.*s", (int)(host - url), url, (int)strcspn(from, "?#"),
                   from);
}

/* ---- one request ---- */

static void set_trust(struct transfer *t)
{
    const struct transfer_options *options = t->options;
    CURL *curl = t->curl;
    bool unasked = options->hash_is_proof && options->sha256 != NULL;
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, unasked ? 0L : 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, unasked ? 0L : 2L);
    if (options->ca_pem.len > 0) {
        struct curl_blob blob = {.data = (void *)options->ca_pem.ptr, .len = options->ca_pem.len};
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
}

static void set_common(struct transfer *t)
{
    const struct transfer_options *options = t->options;
    CURL *curl = t->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "captain-fetch/" CAPTAIN_VERSION);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)TRANSFER_CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)options->low_speed_bytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)options->low_speed_s);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
}

/* Asks for the rest of what is there. The condition holds only for the server it came from; from
 * another one the rest is taken as it is, and the hash decides. */
static struct curl_slist *set_range(struct transfer *t)
{
    char text[PARTIAL_VALIDATOR_MAX + 16];
    curl_easy_setopt(t->curl, CURLOPT_RANGE, NULL);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, NULL);
    if (t->partial.size_bytes == 0)
        return NULL;
    (void)snprintf(text, sizeof text, "%" PRIu64 "-", t->partial.size_bytes);
    curl_easy_setopt(t->curl, CURLOPT_RANGE, text);
    if (t->partial.validator[0] == '\0' || !str_equal(t->partial.url, t->url))
        return NULL;
    (void)snprintf(text, sizeof text, "If-Range: %s", t->partial.validator);
    struct curl_slist *headers = curl_slist_append(NULL, text);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

/* One request without redirects. ret_status is set when the server answered. */
static enum err_code perform(struct transfer *t, const char *url, bool only_https, long *ret_status,
                             struct err *err)
{
    struct curl_slist *headers = set_range(t);
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, only_https ? "https" : "http,https");
    t->accepted = t->stopped = false;
    t->ignored_bytes = 0;
    CURLcode rc = curl_easy_perform(t->curl);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    if (t->stopped) {
        if (err != NULL)
            *err = t->err;
        return t->err.code;
    }
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, ret_status);
    bool unread = rc == CURLE_WRITE_ERROR && !t->accepted;
    return rc == CURLE_OK || unread ? ERR_OK : curl_error(t, rc, err);
}

static bool has_scheme(const char *url, const char *scheme)
{
    return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

static enum err_code check_scheme(const char *url, bool only_https, struct err *err)
{
    if (has_scheme(url, "https://") || (!only_https && has_scheme(url, "http://")))
        return ERR_OK;
    if (only_https)
        return err_set(err, ERR_DENIED, "a redirect from https to something else is not followed");
    return err_set(err, ERR_DENIED, "only http and https are fetched");
}

/* Where a 3xx points, owned; NULL when it is not one. */
static char *next_hop(struct transfer *t, long status)
{
    char *location = NULL;
    bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (moved)
        (void)curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &location);
    return mem_strdup(location);
}

/* Follows redirects to an answer that is none. */
static enum err_code request(struct transfer *t, long *ret_status, struct err *err)
{
    char *url DEFER(mem_free_ref) = mem_strdup(t->url);
    bool only_https = false;
    t->header_bytes = 0;
    for (int hop = 0; hop <= TRANSFER_REDIRECTS_MAX; hop++) {
        enum err_code code = check_scheme(url, only_https, err);
        if (code == ERR_OK)
            code = perform(t, url, only_https, ret_status, err);
        if (code != ERR_OK)
            return code;
        char *next = next_hop(t, *ret_status);
        if (next == NULL)
            return ERR_OK;
        only_https = has_scheme(url, "https://");
        mem_free(url);
        url = next;
    }
    return err_set(err, ERR_DENIED, "more than %d redirects", TRANSFER_REDIRECTS_MAX);
}

/* ---- one URL ---- */

static enum err_code check_whole(struct transfer *t, struct err *err)
{
    uint64_t size = t->options->size_bytes;
    if (size != 0 && t->partial.size_bytes != size)
        return err_set(err, ERR_NO_CONTACT, "the body ended after %" PRIu64 " of %" PRIu64 " bytes",
                       t->partial.size_bytes, size);
    return partial_check(&t->partial, t->options->sha256, err);
}

/* One pass: what is missing, then the check. ret_again: what was there before was to blame. */
static enum err_code pass(struct transfer *t, bool *ret_again, struct err *err)
{
    bool resumed = t->partial.size_bytes > 0;
    bool all_there = resumed && t->partial.size_bytes == t->options->size_bytes;
    long status = 0;
    enum err_code code = all_there ? ERR_OK : request(t, &status, err);
    if (code != ERR_OK)
        return code;
    if (status == 416 && resumed) {
        *ret_again = true;
        code = partial_restart(&t->partial, err);
        return code != ERR_OK ? code : err_set(err, ERR_NO_CONTACT, "http 416: no such range");
    }
    if (!all_there && status != 200 && status != 206)
        return status_error(status, err);
    code = check_whole(t, err);
    *ret_again = code == ERR_HASH && (all_there || status == 206);
    return code;
}

static enum err_code fetch_url(struct transfer *t, const char *url, struct err *err)
{
    char shown[SHOWN_URL_MAX];
    enum err_code code = ERR_OK;
    bool again = true;
    t->url = url;
    for (int i = 0; again && i < PASSES_MAX; i++) {
        again = false;
        code = pass(t, &again, err);
    }
    shown_url(url, shown);
    return code == ERR_OK ? ERR_OK : err_wrap(err, "%s", shown);
}

/* Failures of this machine; another URL would not help. */
static bool is_local(enum err_code code)
{
    return code == ERR_OK || code == ERR_NO_SPACE || code == ERR_IO;
}

static enum err_code fetch_any(struct transfer *t, struct err *err)
{
    if (t->options->urls[0] == NULL)
        return err_set(err, ERR_USAGE, "there is no address to fetch from");
    enum err_code code = ERR_OK;
    for (int i = 0; t->options->urls[i] != NULL; i++) {
        code = fetch_url(t, t->options->urls[i], err);
        if (is_local(code))
            break;
    }
    return code;
}

static enum err_code fetch(struct transfer *t, struct err *err)
{
    const struct partial_options options = {
        .folder_fd = t->options->folder_fd,
        .name = t->options->name,
        .resume = t->options->sha256 != NULL,
        .max_bytes = limit_bytes(t->options),
        .hashes = !t->options->hash_later,
    };
    enum err_code code = partial_open(&t->partial, &options, err);
    if (code != ERR_OK)
        return code;
    t->curl = curl_easy_init();
    if (t->curl == NULL)
        code = err_set(err, ERR_FAILED, "libcurl cannot be started");
    if (code == ERR_OK) {
        set_common(t);
        set_trust(t);
        code = fetch_any(t, err);
    }
    if (code == ERR_OK)
        code = partial_finish(&t->partial, err);
    else if (t->partial.size_bytes == 0)
        partial_remove(&t->partial);
    curl_easy_cleanup(t->curl);
    return code;
}

/* A file of an earlier run that is whole needs no server. */
static bool there_already(const struct transfer_options *options, int *ret_fd, uint64_t *ret_bytes)
{
    uint8_t digest[DIGEST_BYTES];
    if (options->sha256 == NULL)
        return false;
    int fd =
        openat(options->folder_fd, options->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = hash_file(fd, digest, ret_bytes, NULL) == ERR_OK &&
                memcmp(digest, options->sha256, DIGEST_BYTES) == 0;
    if (!same || lseek(fd, 0, SEEK_SET) != 0) {
        (void)close(fd);
        return false;
    }
    *ret_fd = fd;
    return true;
}

enum err_code transfer_run(const struct transfer_options *options, int *ret_fd, uint64_t *ret_bytes,
                           struct err *err)
{
    uint64_t size = 0;
    if (there_already(options, ret_fd, &size)) {
        *ret_bytes = size;
        return ERR_OK;
    }
    struct transfer *t DEFER(mem_free_ref) = mem_new(1, sizeof *t);
    t->options = options;
    t->partial.fd = -1;
    enum err_code code = fetch(t, err);
    if (code == ERR_OK && lseek(t->partial.fd, 0, SEEK_SET) != 0)
        code = err_sys(err, errno, "going to the start of the file");
    if (code == ERR_OK) {
        *ret_fd = t->partial.fd;
        *ret_bytes = t->partial.size_bytes;
        t->partial.fd = -1;
    }
    partial_close(&t->partial);
    return code;
}
