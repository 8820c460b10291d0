/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop thread (libuv): it owns every byte of state. Timers, signals, children by pidfd, calls
 * from other threads, and a hook at the end of each turn where the turn's transaction is committed
 * and the watchdog is fed. Handles of other kinds (pipes, sockets) are libuv's own, on loop->uv.
 *
 * All functions but loop_post are for the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "common/base/err.h"

struct loop;

typedef void (*loop_fn)(void *arg);

MUST_USE enum err_code loop_open(struct loop **ret, struct err *err);
/* Closes what is still open on it, runs their closings, frees. NULL is fine. */
void loop_close(struct loop *loop);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* Runs one turn, waiting at most wait_ms for something to happen: for tests and benches. */
void loop_turn(struct loop *loop, int64_t wait_ms);
void loop_stop(struct loop *loop);
uv_loop_t *loop_uv(struct loop *loop);
/* clock_mono_ms at the start of this turn. */
int64_t loop_now_ms(const struct loop *loop);

/* Runs fn once per turn, after every callback of the turn, in the order of registration. */
enum { LOOP_TURN_HOOKS_MAX = 8 };
void loop_on_turn_end(struct loop *loop, loop_fn fn, void *arg);

/* From any thread: runs fn(arg) on the loop thread in a later turn, in the order posted. What was
 * posted and has not run when the loop closes is dropped. */
void loop_post(struct loop *loop, loop_fn fn, void *arg);

/* A timer; embed it, zeroed. Its owner calls loop_timer_stop before its memory goes. Timers sit in
 * a heap of the loop over one timerfd of CLOCK_BOOTTIME, so that embedding needs no asynchronous
 * close and a device that was suspended finds its timers due. */
struct loop_timer {
    struct loop *loop;
    loop_fn fn;
    void *arg;
    int64_t at_ms;
    uint64_t order; /* when it was armed: equal times fire in this order */
    uint32_t slot;  /* its place in the heap, plus one; 0: not armed */
};
/* (Re)arms it for at_ms of loop_now_ms's clock; a time in the past fires in the next turn. */
void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t at_ms, loop_fn fn,
                   void *arg);
void loop_timer_stop(struct loop_timer *timer);

/* Calls fn on SIGINT and SIGTERM. */
void loop_on_terminate(struct loop *loop, loop_fn fn, void *arg);

/* Watches a process that need not be our child; fn runs once, when it has ended. status is
 * waitpid's for a child, -1 for another's. ERR_NOT_FOUND when it is gone already. */
struct loop_process;
typedef void (*loop_process_fn)(void *arg, int status);
MUST_USE enum err_code loop_process_watch(struct loop *loop, pid_t pid, loop_process_fn fn,
                                          void *arg, struct loop_process **ret, struct err *err);
/* Stops watching; fn will not run. NULL is fine. Not needed after fn ran (it is freed then). */
void loop_process_unwatch(struct loop_process *process);

/* Watches a descriptor (not a regular file) for reading; embed-free, owned. The descriptor becomes
 * non-blocking. fn runs on each readiness; end of file and errors count as readiness. */
struct loop_reader;
typedef void (*loop_reader_fn)(void *arg, int fd);
MUST_USE enum err_code loop_reader_open(struct loop *loop, int fd, loop_reader_fn fn, void *arg,
                                        struct loop_reader **ret, struct err *err);
/* Does not close fd. NULL is fine. */
void loop_reader_close(struct loop_reader *reader);
