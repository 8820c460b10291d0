/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs every file of the given folders through a fuzz target, where there is no libFuzzer. Fails
 * when there is none: a corpus that went away must not look like one that passed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

enum { INPUT_MAX_BYTES = 4 << 20, PATH_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    uint8_t *buffer = mem_new(1, INPUT_MAX_BYTES);
    size_t size = fread(buffer, 1, INPUT_MAX_BYTES, file);
    int failed = ferror(file);
    (void)fclose(file);
    /* A block of exactly its size, so that AddressSanitizer sees a read beyond. */
    uint8_t *data = mem_grow(buffer, INPUT_MAX_BYTES, size ? size : 1, 1);
    if (failed)
        perror(path);
    else
        (void)LLVMFuzzerTestOneInput(data, size);
    mem_free(data);
    return failed;
}

/* Counts the files it ran; -1 when one could not be read. */
static long run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return -1;
    }
    long count = 0;
    for (struct dirent *entry = readdir(dir); entry && count >= 0; entry = readdir(dir)) {
        char path[PATH_BYTES];
        if (entry->d_name[0] == '.')
            continue;
        int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        count = len >= PATH_BYTES || run_file(path) ? -1 : count + 1;
    }
    (void)closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    long total = 0;
    for (int i = 1; i < argc; i++) {
        long count = run_folder(argv[i]);
        if (count < 0)
            return EXIT_FAILURE;
        total += count;
    }
    (void)printf("%ld inputs\n", total);
    return total ? EXIT_SUCCESS : EXIT_FAILURE;
}
