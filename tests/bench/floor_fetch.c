/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor of an installation: libcurl -> SHA-256 -> write (write-back started early) -> fsync ->
 * rename -> fsync of the folder. floor_fetch URL FILE; prints wall milliseconds and peak RSS in
 * KiB.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"

enum { WRITE_BACK_BYTES = 8 << 20 };

struct sink {
    int fd;
    EVP_MD_CTX *sha;
    off_t written, started;
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "floor_fetch: %s failed\n", what);
    exit(1);
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct sink *sink = arg;
    size_t len = size * count;
    must(EVP_DigestUpdate(sink->sha, data, len) == 1, "sha");
    must(write(sink->fd, data, len) == (ssize_t)len, "write");
    sink->written += (off_t)len;
    if (sink->written - sink->started >= WRITE_BACK_BYTES) {
        (void)sync_file_range(sink->fd, sink->started, sink->written - sink->started,
                              SYNC_FILE_RANGE_WRITE);
        sink->started = sink->written;
    }
    return len;
}

int main(int argc, char **argv)
{
    must(argc == 3, "usage: floor_fetch URL FILE;");
    char part[4096];
    (void)snprintf(part, sizeof part, "%s.part", argv[2]);
    int64_t start = clock_mono_ns();
    struct sink sink = {.fd = open(part, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600),
                        .sha = EVP_MD_CTX_new()};
    must(sink.fd >= 0, "open");
    must(EVP_DigestInit_ex(sink.sha, EVP_sha256(), NULL) == 1, "sha init");
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == 0, "curl init");
    CURL *curl = curl_easy_init();
    (void)curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
    (void)curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 512L << 10);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    must(curl_easy_perform(curl) == CURLE_OK, "transfer");
    unsigned char digest[32];
    must(EVP_DigestFinal_ex(sink.sha, digest, NULL) == 1, "sha final");
    must(fsync(sink.fd) == 0, "fsync");
    must(rename(part, argv[2]) == 0, "rename");
    int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fsync(dir) == 0, "fsync folder");
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("%.1f %ld\n", (double)(clock_mono_ns() - start) / 1e6, usage.ru_maxrss);
    return 0;
}
