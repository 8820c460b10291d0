/* SPDX-License-Identifier: Apache-2.0
 *
 * sim --seeds N --devices N [--from S] [--workers N]   random plans; a failing seed is made smaller
 * sim --seed S --devices N                             one plan, with its story
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/shrink.h"

enum { WORKERS_MAX = 64 };

struct options {
    uint64_t seeds, from, seed, devices, workers;
    bool one, quiet;
};

static bool read_number(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *ret = number;
    return true;
}

static bool read_options(int argc, char **argv, struct options *ret)
{
    *ret = (struct options){.seeds = 1000, .from = 1, .devices = 50, .workers = 2};
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            uint64_t *number;
        } table[] = {{"--seeds", &ret->seeds},
                     {"--from", &ret->from},
                     {"--seed", &ret->seed},
                     {"--devices", &ret->devices},
                     {"--workers", &ret->workers}};
        bool found = false;
        if (strcmp(argv[i], "--quiet") == 0) {
            ret->quiet = true;
            continue;
        }
        for (size_t k = 0; k < sizeof table / sizeof table[0] && i + 1 < argc; k++) {
            if (found || strcmp(argv[i], table[k].name) != 0)
                continue;
            found = read_number(argv[++i], table[k].number);
            ret->one |= k == 2;
        }
        if (!found)
            return false;
    }
    return ret->workers >= 1 && ret->workers <= WORKERS_MAX && ret->devices >= 1;
}

static int run_one(const struct options *options)
{
    struct plan plan;
    plan_draw(&plan, options->seed, (uint32_t)options->devices);
    if (shrink_run(&plan, UINT64_MAX, options->quiet ? NULL : stdout, NULL))
        return EXIT_SUCCESS;
    shrink_tell(&plan, options->quiet ? NULL : stdout);
    return EXIT_FAILURE;
}

/* Every workers-th seed. */
static int work(const struct options *options, uint64_t worker)
{
    struct plan plan;
    for (uint64_t i = worker; i < options->seeds; i += options->workers) {
        plan_draw(&plan, options->from + i, (uint32_t)options->devices);
        if (shrink_run(&plan, UINT64_MAX, NULL, NULL))
            continue;
        shrink_tell(&plan, NULL);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run_many(const struct options *options)
{
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint64_t worker = 0; worker < options->workers; worker++) {
        const pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            return EXIT_FAILURE;
        }
        if (pid == 0) {
            const int status = work(options, worker);
            (void)fflush(stdout);
            _exit(status);
        }
    }
    int failed = 0;
    int status;
    while (wait(&status) > 0)
        failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    (void)printf("%llu seeds of %llu devices from %llu: %s, %.1f s\n",
                 (unsigned long long)options->seeds, (unsigned long long)options->devices,
                 (unsigned long long)options->from, failed ? "FAILED" : "ok",
                 (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options;
    if (!read_options(argc, argv, &options)) {
        (void)fputs("usage: sim --seeds N [--devices N] [--from S] [--workers N]\n"
                    "       sim --seed S [--devices N] [--quiet]\n",
                    stderr);
        return 2;
    }
    return options.one ? run_one(&options) : run_many(&options);
}
