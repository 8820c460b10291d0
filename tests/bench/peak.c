/* SPDX-License-Identifier: Apache-2.0
 *
 * The peak memory of a process and its descendants together: peak PID. Until SIGTERM it looks every
 * 2 ms and adds up what each has in memory; then it prints the largest sum in KiB, as RSS (shared
 * pages are counted in each process) and as the anonymous part of it. It costs about a fifth of a
 * core, so a round that is watched is not timed.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY_MS = 2, PROCESSES_MAX = 4096 };

struct process {
    long pid, parent, rss_kb, anonymous_kb;
    bool ours;
};

static volatile sig_atomic_t over;

static void on_term(int sig)
{
    (void)sig;
    over = 1;
}

static bool read_process(const char *name, struct process *ret)
{
    char path[300], line[256];
    (void)snprintf(path, sizeof path, "/proc/%s/status", name);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    *ret = (struct process){.pid = strtol(name, NULL, 10)};
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "PPid:", 5) == 0)
            ret->parent = strtol(line + 5, NULL, 10);
        else if (strncmp(line, "VmRSS:", 6) == 0)
            ret->rss_kb = strtol(line + 6, NULL, 10);
        else if (strncmp(line, "RssAnon:", 8) == 0)
            ret->anonymous_kb = strtol(line + 8, NULL, 10);
    }
    (void)fclose(file);
    return true;
}

static size_t read_all(struct process *all)
{
    size_t len = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && len < PROCESSES_MAX && (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            len += read_process(entry->d_name, &all[len]);
    if (proc)
        (void)closedir(proc);
    return len;
}

/* Marks the descendants: a generation with each pass. */
static void mark(struct process *all, size_t len, long root)
{
    bool more = true;
    for (size_t i = 0; i < len; i++)
        all[i].ours = all[i].pid == root;
    while (more) {
        more = false;
        for (size_t i = 0; i < len; i++)
            for (size_t k = 0; k < len && !all[i].ours; k++)
                if (all[k].ours && all[i].parent == all[k].pid)
                    more = all[i].ours = true;
    }
}

int main(int argc, char **argv)
{
    static struct process all[PROCESSES_MAX];
    long rss_kb = 0, anonymous_kb = 0;
    if (argc != 2)
        return 2;
    (void)signal(SIGTERM, on_term);
    while (!over) {
        long rss = 0, anonymous = 0;
        size_t len = read_all(all);
        mark(all, len, strtol(argv[1], NULL, 10));
        for (size_t i = 0; i < len; i++) {
            rss += all[i].ours ? all[i].rss_kb : 0;
            anonymous += all[i].ours ? all[i].anonymous_kb : 0;
        }
        rss_kb = rss > rss_kb ? rss : rss_kb;
        anonymous_kb = anonymous > anonymous_kb ? anonymous : anonymous_kb;
        (void)poll(NULL, 0, EVERY_MS);
    }
    printf("%ld %ld\n", rss_kb, anonymous_kb);
    return 0;
}
