/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { START_MS = 30000, START_ATTEMPTS = 5, PATH_BYTES = 512 };

struct prometheus {
    char *dir;
    uint16_t port;
    char address[64];
    struct proc *proc; /* NULL: not running */
};

static bool is_settled(void *arg)
{
    const struct prometheus *prometheus = arg;
    if (proc_wait(prometheus->proc, 0, NULL))
        return true;
    const int fd = port_connect(prometheus->port);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static void write_config(const struct prometheus *prometheus, uint16_t target_port)
{
    char text[512];
    char *path = tempdir_path(prometheus->dir, "prometheus.yml");
    const int len = snprintf(text, sizeof text,
                             "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
                             "scrape_configs:\n"
                             "  - job_name: app\n"
                             "    static_configs: [{targets: ['127.0.0.1:%u']}]\n",
                             target_port);
    tempdir_write(path, text, (size_t)len);
    free(path);
}

/* False: another process was faster with the port. */
static bool start(struct prometheus *prometheus)
{
    char config[PATH_BYTES], storage[PATH_BYTES], listen[64];
    char *log = tempdir_path(prometheus->dir, "log");
    prometheus->port = port_free();
    (void)snprintf(config, sizeof config, "--config.file=%s/prometheus.yml", prometheus->dir);
    (void)snprintf(storage, sizeof storage, "--storage.tsdb.path=%s/data", prometheus->dir);
    (void)snprintf(listen, sizeof listen, "--web.listen-address=127.0.0.1:%u", prometheus->port);
    (void)snprintf(prometheus->address, sizeof prometheus->address, "http://127.0.0.1:%u",
                   prometheus->port);
    const char *const argv[] = {"prometheus", config, storage, listen, NULL};
    prometheus->proc = proc_start(&(struct proc_options){.argv = argv, .out_path = log});
    if (!wait_until(is_settled, prometheus, START_MS))
        support_die(0, "prometheus on port %u does not answer: see %s", prometheus->port, log);
    free(log);
    if (!proc_wait(prometheus->proc, 0, NULL))
        return true;
    prometheus_kill(prometheus);
    return false;
}

struct prometheus *prometheus_start(uint16_t target_port)
{
    struct prometheus *prometheus = mem_new(1, sizeof *prometheus);
    prometheus->dir = tempdir_make();
    write_config(prometheus, target_port);
    for (int i = 0; i < START_ATTEMPTS; i++)
        if (start(prometheus))
            return prometheus;
    char *log = tempdir_path(prometheus->dir, "log");
    char *text = tempdir_read(log, NULL);
    support_die(0, "prometheus does not start: %s", text ? text : "");
}

const char *prometheus_address(const struct prometheus *prometheus)
{
    return prometheus->address;
}

void prometheus_kill(struct prometheus *prometheus)
{
    proc_free(prometheus->proc);
    prometheus->proc = NULL;
}

void prometheus_free(struct prometheus *prometheus)
{
    if (!prometheus)
        return;
    prometheus_kill(prometheus);
    tempdir_remove(prometheus->dir);
    mem_free(prometheus);
}
