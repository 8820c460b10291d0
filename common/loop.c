/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"

struct hook {
    loop_fn fn;
    void *arg;
};

struct post {
    struct post *next;
    loop_fn fn;
    void *arg;
};

/* What a watcher of a descriptor has in common: its place in the loop's list and its libuv handle.
 */
struct watch {
    struct watch *next;
    struct watch **prev_next;
    uv_poll_t poll; /* data is the watch */
    int own_fd;     /* closed with the watch; -1: the descriptor is another's */
};

struct loop_process {
    struct watch watch; /* first: freed through it */
    loop_process_fn fn;
    void *arg;
};

struct loop_reader {
    struct watch watch; /* first: freed through it */
    loop_reader_fn fn;
    void *arg;
    int fd;
};

struct loop {
    uv_loop_t uv;
    bool stopped;
    int64_t now_ms;
    uint64_t now_uv; /* uv_now when now_ms was read */

    struct loop_timer **heap;
    uint32_t heap_len, heap_cap;
    uint64_t order;
    int wake_fd; /* the timerfd */
    uv_poll_t wake;
    int64_t wake_at_ms; /* what it is set to; INT64_MAX: not set */

    struct hook hooks[LOOP_TURN_HOOKS_MAX];
    unsigned hooks_len;

    /* The mutex guards only the queue by which other threads hand calls over. */
    pthread_mutex_t post_lock;
    struct post *post_head, **post_tail;
    uv_async_t post_async;

    struct watch *watches;
    uv_signal_t signals[2];
    bool signals_open;
    struct hook terminate;
};

/* ---- time ---- */

int64_t loop_now_ms(const struct loop *loop)
{
    /* libuv reads its clock once per turn, right after waiting; the cache follows it. */
    struct loop *cache = (struct loop *)loop;
    uint64_t now_uv = uv_now(&loop->uv);
    if (now_uv != cache->now_uv || cache->now_ms == 0) {
        cache->now_uv = now_uv;
        cache->now_ms = clock_mono_ms();
    }
    return cache->now_ms;
}

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void heap_put(struct loop *loop, uint32_t i, struct loop_timer *timer)
{
    loop->heap[i] = timer;
    timer->slot = i + 1;
}

static uint32_t heap_up(struct loop *loop, uint32_t i, struct loop_timer *timer)
{
    while (i > 0 && timer_before(timer, loop->heap[(i - 1) / 2])) {
        heap_put(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return i;
}

static uint32_t heap_down(struct loop *loop, uint32_t i, struct loop_timer *timer)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= loop->heap_len) {
            return i;
        }
        if (child + 1 < loop->heap_len && timer_before(loop->heap[child + 1], loop->heap[child])) {
            child++;
        }
        if (!timer_before(loop->heap[child], timer)) {
            return i;
        }
        heap_put(loop, i, loop->heap[child]);
        i = child;
    }
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->slot == 0) {
        return;
    }
    struct loop *loop = timer->loop;
    uint32_t i = timer->slot - 1;
    timer->slot = 0;
    struct loop_timer *last = loop->heap[--loop->heap_len];
    if (last != timer) {
        heap_put(loop, heap_down(loop, heap_up(loop, i, last), last), last);
    }
}

void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t at_ms, loop_fn fn,
                   void *arg)
{
    loop_timer_stop(timer);
    /* A time in the past becomes now: it then sorts behind all that are due already. */
    int64_t now_ms = loop_now_ms(loop);
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    timer->at_ms = at_ms > now_ms ? at_ms : now_ms;
    timer->order = ++loop->order;
    if (loop->heap_len == loop->heap_cap) {
        uint32_t cap = loop->heap_cap == 0 ? 64 : loop->heap_cap * 2;
        loop->heap = mem_grow(loop->heap, loop->heap_cap, cap, sizeof(struct loop_timer *));
        loop->heap_cap = cap;
    }
    uint32_t i = loop->heap_len++;
    heap_put(loop, heap_up(loop, i, timer), timer);
}

static void timers_fire(struct loop *loop)
{
    int64_t now_ms = loop_now_ms(loop);
    uint64_t armed_before = loop->order; /* what a callback arms now is for the next turn */
    while (loop->heap_len > 0) {
        struct loop_timer *timer = loop->heap[0];
        if (timer->at_ms > now_ms || timer->order > armed_before) {
            return;
        }
        loop_timer_stop(timer);
        timer->fn(timer->arg);
    }
}

static void on_wake(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct loop *loop = handle->data;
    uint64_t expirations;
    (void)!read(loop->wake_fd, &expirations, sizeof expirations);
    loop->wake_at_ms = INT64_MAX;
}

/* Sets the timerfd; INT64_MAX: off. */
static void wake_at(struct loop *loop, int64_t at_ms)
{
    if (at_ms == loop->wake_at_ms) {
        return;
    }
    struct itimerspec spec = {0};
    if (at_ms != INT64_MAX) {
        spec.it_value.tv_sec = at_ms / 1000;
        spec.it_value.tv_nsec = at_ms % 1000 * 1000000;
    }
    int failed = timerfd_settime(loop->wake_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    assert(failed == 0); /* the descriptor is ours and the time is in range */
    (void)failed;
    loop->wake_at_ms = at_ms;
}

/* ---- turns ---- */

/* wait_ms below 0: as long as it takes. */
static void turn(struct loop *loop, int64_t wait_ms)
{
    int64_t now_ms = clock_mono_ms();
    int64_t at_ms = loop->heap_len > 0 ? loop->heap[0]->at_ms : INT64_MAX;
    if (wait_ms >= 0 && wait_ms < at_ms - now_ms) {
        at_ms = now_ms + wait_ms;
    }
    bool wait = at_ms > now_ms;
    if (wait) {
        wake_at(loop, at_ms);
    }
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    timers_fire(loop);
    for (unsigned i = 0; i < loop->hooks_len; i++) {
        loop->hooks[i].fn(loop->hooks[i].arg);
    }
}

void loop_turn(struct loop *loop, int64_t wait_ms)
{
    turn(loop, wait_ms > 0 ? wait_ms : 0);
}

void loop_run(struct loop *loop)
{
    while (!loop->stopped) {
        turn(loop, -1);
    }
    loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    /* Also when called from a place libuv does not know of, the current wait must end. */
    (void)uv_async_send(&loop->post_async);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_on_turn_end(struct loop *loop, loop_fn fn, void *arg)
{
    assert(loop->hooks_len < LOOP_TURN_HOOKS_MAX);
    loop->hooks[loop->hooks_len++] = (struct hook){fn, arg};
}

/* ---- calls from other threads ---- */

void loop_post(struct loop *loop, loop_fn fn, void *arg)
{
    struct post *post = mem_new(1, sizeof *post);
    post->fn = fn;
    post->arg = arg;
    (void)pthread_mutex_lock(&loop->post_lock);
    bool first = loop->post_head == NULL;
    *loop->post_tail = post;
    loop->post_tail = &post->next;
    if (first) {
        /* Inside the lock, so that the loop cannot close the handle in between. */
        (void)uv_async_send(&loop->post_async);
    }
    (void)pthread_mutex_unlock(&loop->post_lock);
}

static struct post *posts_take(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->post_lock);
    struct post *head = loop->post_head;
    loop->post_head = NULL;
    loop->post_tail = &loop->post_head;
    (void)pthread_mutex_unlock(&loop->post_lock);
    return head;
}

static void on_posts(uv_async_t *handle)
{
    struct loop *loop = handle->data;
    for (struct post *post = posts_take(loop); post != NULL;) {
        struct post *next = post->next;
        post->fn(post->arg);
        mem_free(post);
        post = next;
    }
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct loop *loop = handle->data;
    loop->terminate.fn(loop->terminate.arg);
}

void loop_on_terminate(struct loop *loop, loop_fn fn, void *arg)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    loop->terminate = (struct hook){fn, arg};
    for (unsigned i = 0; !loop->signals_open && i < ARRAY_LEN(numbers); i++) {
        uv_signal_t *handle = &loop->signals[i];
        int failed = uv_signal_init(&loop->uv, handle);
        handle->data = loop;
        failed = failed != 0 ? failed : uv_signal_start(handle, on_signal, numbers[i]);
        assert(failed == 0); /* fails only for a bad number, or without memory */
        (void)failed;
    }
    loop->signals_open = true;
}

/* ---- descriptors and processes ---- */

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    if (watch->own_fd >= 0) {
        (void)close(watch->own_fd);
    }
    mem_free(watch);
}

static void watch_close(struct watch *watch)
{
    *watch->prev_next = watch->next;
    if (watch->next != NULL) {
        watch->next->prev_next = watch->prev_next;
    }
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

/* Enters watch into the loop; on failure watch is the caller's again. */
static enum err_code watch_open(struct loop *loop, struct watch *watch, int fd, uv_poll_cb cb,
                                struct err *err)
{
    int failed = uv_poll_init(&loop->uv, &watch->poll, fd);
    if (failed != 0) {
        return err_sys(err, -failed, "cannot watch descriptor %d", fd);
    }
    watch->poll.data = watch;
    watch->next = loop->watches;
    watch->prev_next = &loop->watches;
    if (watch->next != NULL) {
        watch->next->prev_next = &watch->next;
    }
    loop->watches = watch;
    failed = uv_poll_start(&watch->poll, UV_READABLE, cb);
    assert(failed == 0); /* on Linux only a closing handle fails */
    (void)failed;
    return ERR_OK;
}

/* The wait status of a child, which is reaped; -1 for a process that is another's child. */
static int process_status(int pidfd)
{
    siginfo_t info = {0};
    int rc;
    do {
        rc = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 || info.si_pid == 0) {
        return -1;
    }
    if (info.si_code == CLD_EXITED) {
        return __W_EXITCODE(info.si_status, 0);
    }
    return info.si_code == CLD_DUMPED ? info.si_status | __WCOREFLAG : info.si_status;
}

static void on_process(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *watch = handle->data;
    struct loop_process *process = (struct loop_process *)watch;
    loop_process_fn fn = process->fn;
    void *arg = process->arg;
    int ended = process_status(watch->own_fd);
    watch_close(watch);
    fn(arg, ended);
}

enum err_code loop_process_watch(struct loop *loop, pid_t pid, loop_process_fn fn, void *arg,
                                 struct loop_process **ret, struct err *err)
{
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 && errno == ESRCH) {
        return err_set(err, ERR_NOT_FOUND, "process %d is gone", (int)pid);
    }
    if (pidfd < 0) {
        return err_sys(err, errno, "cannot watch process %d", (int)pid);
    }
    struct loop_process *process = mem_new(1, sizeof *process);
    process->fn = fn;
    process->arg = arg;
    process->watch.own_fd = pidfd;
    enum err_code code = watch_open(loop, &process->watch, pidfd, on_process, err);
    if (code != ERR_OK) {
        (void)close(pidfd);
        mem_free(process);
        return code;
    }
    *ret = process;
    return ERR_OK;
}

void loop_process_unwatch(struct loop_process *process)
{
    if (process != NULL) {
        watch_close(&process->watch);
    }
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct loop_reader *reader = handle->data;
    reader->fn(reader->arg, reader->fd);
}

enum err_code loop_reader_open(struct loop *loop, int fd, loop_reader_fn fn, void *arg,
                               struct loop_reader **ret, struct err *err)
{
    struct loop_reader *reader = mem_new(1, sizeof *reader);
    reader->fn = fn;
    reader->arg = arg;
    reader->fd = fd;
    reader->watch.own_fd = -1;
    enum err_code code = watch_open(loop, &reader->watch, fd, on_readable, err);
    if (code != ERR_OK) {
        mem_free(reader);
        return code;
    }
    *ret = reader;
    return ERR_OK;
}

void loop_reader_close(struct loop_reader *reader)
{
    if (reader != NULL) {
        watch_close(&reader->watch);
    }
}

/* ---- open and close ---- */

enum err_code loop_open(struct loop **ret, struct err *err)
{
    struct loop *loop = mem_new(1, sizeof *loop);
    loop->post_tail = &loop->post_head;
    loop->wake_at_ms = INT64_MAX;
    loop->wake_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        enum err_code code = err_sys(err, errno, "cannot make a timer");
        mem_free(loop);
        return code;
    }
    int failed = uv_loop_init(&loop->uv);
    if (failed != 0) {
        (void)close(loop->wake_fd);
        mem_free(loop);
        return err_sys(err, -failed, "cannot make an event loop");
    }
    (void)pthread_mutex_init(&loop->post_lock, NULL);
    failed = uv_async_init(&loop->uv, &loop->post_async, on_posts);
    loop->post_async.data = loop;
    failed = failed != 0 ? failed : uv_poll_init(&loop->uv, &loop->wake, loop->wake_fd);
    loop->wake.data = loop;
    failed = failed != 0 ? failed : uv_poll_start(&loop->wake, UV_READABLE, on_wake);
    if (failed != 0) {
        loop_close(loop);
        return err_sys(err, -failed, "cannot make an event loop");
    }
    *ret = loop;
    return ERR_OK;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_close(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->watches != NULL) {
        watch_close(loop->watches);
    }
    for (struct post *post = posts_take(loop); post != NULL;) {
        struct post *next = post->next;
        mem_free(post);
        post = next;
    }
    uv_walk(&loop->uv, close_handle, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    int failed = uv_loop_close(&loop->uv);
    assert(failed == 0); /* every handle was closed above */
    (void)failed;
    for (uint32_t i = 0; i < loop->heap_len; i++) {
        loop->heap[i]->slot = 0;
    }
    mem_free(loop->heap);
    (void)close(loop->wake_fd);
    (void)pthread_mutex_destroy(&loop->post_lock);
    mem_free(loop);
}
