/* SPDX-License-Identifier: Apache-2.0
 *
 * A fleet that connects at once, and one that comes back after its server was killed.
 *   storm DEVICES FIRST_MS MAX_MS URL FLEET|- SERVER [ARG...]
 * Starts SERVER, opens DEVICES connections through common/bus with an agent's subscriptions and these
 * jitters; with FLEET (a folder that captain init made) by TLS and a device's own credential each. Holds
 * them until a session counts as one that worked, kills the server with SIGKILL, starts it again at once
 * and waits until all are back. Two lines, milliseconds from the first call, and from the kill:
 *   connected LAST MEDIAN SERVER_CPU OWN_CPU SERVER_KB_EACH OWN_KB_EACH FAILURES
 *   back LAST MEDIAN FIRST SERVER_CPU OWN_CPU FAILURES
 * A thousand devices have a thousand processors and this process has few: only AT_ONCE of them are
 * inside natsConnection_Connect at a time. Without that they starve each other beyond the two seconds
 * after which the server pings, libnats takes that PING for a failure, and all begin anew.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "captain/account.h"
#include "captain/api.h"
#include "common/base/mem.h"
#include "common/bus.h"
#include "common/clock.h"

enum { DEVICES_MAX = 5000, HOLD_MS = 7000, WAIT_MS = 400000, TURN_MS = 20, ARENA_BYTES = 1 << 20 };
enum { AT_ONCE = 8 };

static sem_t turns;

struct device {
    struct bus *bus;
    struct storm *storm;
    bool connected;
    unsigned sessions; /* so far */
    int64_t at_ms;     /* when the last one began */
};

struct storm {
    struct device *devices;
    unsigned len, failures;
    struct loop *loop;
    const char *url, *fleet; /* fleet NULL: plain */
    char folder[64];         /* of the credentials */
    int64_t first_ms, max_ms;
    char **server_argv;
    pid_t server;
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "storm: %s failed\n", what);
    exit(1);
}

/* Comes before the library's own, which it calls. */
natsStatus natsConnection_Connect(natsConnection **nc, natsOptions *options)
{
    natsStatus (*original)(natsConnection **, natsOptions *) = NULL;
    void *found = dlsym(RTLD_NEXT, "natsConnection_Connect");
    memcpy(&original, &found, sizeof original);
    must(original != NULL, "finding natsConnection_Connect");
    while (sem_wait(&turns) != 0)
        ;
    natsStatus s = original(nc, options);
    (void)sem_post(&turns);
    return s;
}

/* ---- the server ---- */

static bool listens(const char *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static void start_server(struct storm *storm)
{
    storm->server = fork();
    must(storm->server >= 0, "fork");
    if (storm->server > 0)
        return;
    int null_fd = open("/dev/null", O_RDWR);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)dup2(null_fd, 1);
    (void)dup2(null_fd, 2);
    (void)execvp(storm->server_argv[0], storm->server_argv);
    _exit(127);
}

/* A number behind this name in /proc/PID/status. */
static long status_kb(pid_t pid, const char *name)
{
    char path[64], line[256];
    long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    must(file != NULL, path);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtol(line + strlen(name) + 1, NULL, 10);
    (void)fclose(file);
    return kb;
}

static long cpu_ms(pid_t pid)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    must(file != NULL, path);
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    char *at = strrchr(text, ')'); /* fields 14 and 15, of which this is the end of the second */
    for (int i = 2; at && i < 14; i++)
        at = strchr(at + 1, ' ');
    must(at != NULL, path);
    long ticks = strtol(at, &at, 10);
    ticks += strtol(at, NULL, 10);
    return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

/* ---- devices ---- */

static void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct device *device = arg;
    struct storm *storm = device->storm;
    (void)count;
    if (event == BUS_CONNECTED) {
        device->connected = true;
        device->sessions++;
        device->at_ms = clock_mono_ms();
        return;
    }
    if (event != BUS_DISCONNECTED && event != BUS_AUTH_ERROR)
        return;
    if (!device->connected && storm->failures++ == 0)
        fprintf(stderr, "storm: the first failure: %s\n", text);
    device->connected = false;
}

static void on_message(void *arg, const struct bus_message *message)
{
    (void)arg;
    (void)message;
}

static void mint(struct storm *storm)
{
    const struct account_options options = {.folder = storm->fleet, .subjects = api_role_subjects};
    struct account *account = NULL;
    struct arena arena;
    struct err err;
    must(account_open(&options, &account, &err) == ERR_OK, "keys");
    const int64_t now_s = clock_unix_ms() / 1000;
    for (unsigned i = 0; i < storm->len; i++) {
        char name[32], path[128];
        struct sign_key key;
        const char *jwt = NULL;
        (void)snprintf(name, sizeof name, "d%u", i);
        (void)snprintf(path, sizeof path, "%s/%u", storm->folder, i);
        sign_key_new(&key);
        const struct account_device device = {.site = "bench",
                                              .device = name,
                                              .key = key.public_key,
                                              .issued_s = now_s,
                                              .expires_s = now_s + ACCOUNT_DEVICE_TTL_S};
        arena_init(&arena, ARENA_BYTES);
        must(account_mint_device(account, &device, &arena, &jwt, &err) == ERR_OK, "mint");
        must(nkey_write_creds(path, jwt, &key, &err) == ERR_OK, err.text);
        arena_fini(&arena);
    }
    account_close(account);
}

static void open_device(struct storm *storm, unsigned i)
{
    struct device *device = &storm->devices[i];
    char inbox[64], creds[128], ca[512];
    struct err err;
    (void)snprintf(inbox, sizeof inbox, "_INBOX.bench.d%u", i);
    (void)snprintf(creds, sizeof creds, "%s/%u", storm->folder, i);
    (void)snprintf(ca, sizeof ca, "%s/nats/tls/ca.pem", storm->fleet ? storm->fleet : "");
    device->storm = storm;
    const struct bus_options options = {.url = storm->url,
                                        .name = "storm",
                                        .inbox_prefix = inbox,
                                        .creds_path = storm->fleet ? creds : NULL,
                                        .tls_ca_path = storm->fleet ? ca : NULL,
                                        .seed = i + 1,
                                        .reconnect_first_ms = storm->first_ms,
                                        .reconnect_max_ms = storm->max_ms,
                                        .on_event = on_event,
                                        .arg = device};
    must(bus_open(storm->loop, &options, &device->bus, &err) == ERR_OK, err.text);
    static const char *const subjects[] = {"ack.bench.d%u", "dn.root.*", "dn.device.bench.d%u",
                                           "dn.channel.hello.stable"};
    for (size_t k = 0; k < ARRAY_LEN(subjects); k++) {
        char subject[64], number[16];
        (void)snprintf(number, sizeof number, "%u", i);
        const char *sign = strstr(subjects[k], "%u");
        (void)snprintf(subject, sizeof subject, "%.*s%s",
                       sign ? (int)(sign - subjects[k]) : (int)strlen(subjects[k]), subjects[k],
                       sign ? number : "");
        must(bus_subscribe(device->bus, subject, on_message, NULL, &err) == ERR_OK, err.text);
    }
    must(bus_start(device->bus, &err) == ERR_OK, err.text);
}

/* Devices that are in their n-th session. */
static unsigned in_session(const struct storm *storm, unsigned n)
{
    unsigned found = 0;
    for (unsigned i = 0; i < storm->len; i++)
        found += storm->devices[i].connected && storm->devices[i].sessions >= n;
    return found;
}

static void turn_until(struct storm *storm, unsigned session, const char *what)
{
    const int64_t end_ms = clock_mono_ms() + WAIT_MS;
    while (in_session(storm, session) < storm->len && clock_mono_ms() < end_ms)
        loop_turn(storm->loop, TURN_MS);
    must(in_session(storm, session) == storm->len, what);
}

static int compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Times of all devices from start on, sorted. */
static void times(const struct storm *storm, int64_t start_ms, int64_t ret[DEVICES_MAX])
{
    for (unsigned i = 0; i < storm->len; i++)
        ret[i] = storm->devices[i].at_ms - start_ms;
    qsort(ret, storm->len, sizeof *ret, compare);
}

static void measure_connect(struct storm *storm)
{
    static int64_t at_ms[DEVICES_MAX];
    const long server_kb = status_kb(storm->server, "VmRSS"), own_kb = status_kb(getpid(), "VmRSS");
    const long server_cpu = cpu_ms(storm->server), own_cpu = cpu_ms(getpid());
    const int64_t start_ms = clock_mono_ms();
    for (unsigned i = 0; i < storm->len; i++)
        open_device(storm, i);
    turn_until(storm, 1, "connecting them all");
    const long server_took = cpu_ms(storm->server) - server_cpu,
               own_took = cpu_ms(getpid()) - own_cpu;
    times(storm, start_ms, at_ms);
    const long len = (long)storm->len;
    printf("connected %lld %lld %ld %ld %.1f %.1f %u\n", (long long)at_ms[storm->len - 1],
           (long long)at_ms[storm->len / 2], server_took, own_took,
           (double)(status_kb(storm->server, "VmRSS") - server_kb) / (double)len,
           (double)(status_kb(getpid(), "VmRSS") - own_kb) / (double)len, storm->failures);
    (void)fflush(stdout);
}

static void measure_return(struct storm *storm)
{
    static int64_t at_ms[DEVICES_MAX];
    storm->failures = 0;
    must(kill(storm->server, SIGKILL) == 0 && waitpid(storm->server, NULL, 0) == storm->server,
         "killing the server");
    const long own_cpu = cpu_ms(getpid());
    const int64_t start_ms = clock_mono_ms();
    start_server(storm);
    turn_until(storm, 2, "coming back");
    times(storm, start_ms, at_ms);
    printf("back %lld %lld %lld %ld %ld %u\n", (long long)at_ms[storm->len - 1],
           (long long)at_ms[storm->len / 2], (long long)at_ms[0], cpu_ms(storm->server),
           cpu_ms(getpid()) - own_cpu, storm->failures);
}

static void raise_limit(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static void clean_up(struct storm *storm)
{
    for (unsigned i = 0; i < storm->len; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%u", storm->folder, i);
        (void)unlink(path);
    }
    (void)rmdir(storm->folder);
    (void)kill(storm->server, SIGKILL);
}

int main(int argc, char **argv)
{
    must(argc >= 7, "usage: storm DEVICES FIRST_MS MAX_MS URL FLEET|- SERVER [ARG...];");
    struct storm storm = {.len = (unsigned)strtoul(argv[1], NULL, 10),
                          .first_ms = strtol(argv[2], NULL, 10),
                          .max_ms = strtol(argv[3], NULL, 10),
                          .url = argv[4],
                          .fleet = strcmp(argv[5], "-") == 0 ? NULL : argv[5],
                          .folder = "/dev/shm/storm-XXXXXX",
                          .server_argv = &argv[6]};
    struct err err;
    must(storm.len > 0 && storm.len <= DEVICES_MAX, "DEVICES");
    must(sem_init(&turns, 0, AT_ONCE) == 0, "sem_init");
    must(mkdtemp(storm.folder) != NULL, "a folder in memory");
    raise_limit();
    storm.devices = mem_new(storm.len, sizeof *storm.devices);
    must(loop_open(&storm.loop, &err) == ERR_OK, "loop");
    if (storm.fleet)
        mint(&storm);
    start_server(&storm);
    const int64_t ready_ms = clock_mono_ms() + WAIT_MS;
    while (!listens(storm.url) && clock_mono_ms() < ready_ms)
        loop_turn(storm.loop, TURN_MS);
    measure_connect(&storm);
    const int64_t held_ms = clock_mono_ms() + HOLD_MS;
    while (clock_mono_ms() < held_ms)
        loop_turn(storm.loop, TURN_MS);
    must(in_session(&storm, 1) == storm.len, "holding them");
    measure_return(&storm);
    clean_up(&storm);
    (void)fflush(stdout);
    _exit(0); /* thousands of threads are not waited for */
}
