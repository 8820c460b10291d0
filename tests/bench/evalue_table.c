/* SPDX-License-Identifier: Apache-2.0
 *
 * evalue_table [SEED]: false alarms and power of the gates compare and rate over simulated rollouts,
 * beside Fisher's exact test repeated after every failure; and the cost of one evaluation at
 * 100,000 devices. Prints markdown.
 *
 * A rollout: a canary and a control arm, each device fails at an exponential time (hazard of the
 * canary = ratio x control's) or is censored at the end of the observation; failures come one by one,
 * and every test is asked after each.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "captain/core/evalue.h"
#include "captain/core/rollout.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

enum { ROLLOUTS = 20000, ARM_MAX = 200, FLEET = 100000, REPORTS = 20000 };

static const double alphas[] = {0.05, 0.01};

struct failure {
    double time;
    bool canary;
};

/* One rollout's failures in order. */
struct trial {
    uint32_t canaries, controls, len;
    struct failure failures[2 * ARM_MAX];
};

static double uniform(struct rng *rng)
{
    return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

static int by_time(const void *a, const void *b)
{
    const double x = ((const struct failure *)a)->time;
    const double y = ((const struct failure *)b)->time;
    return (x > y) - (x < y);
}

static void draw_arm(struct trial *trial, struct rng *rng, uint32_t devices, double hazard,
                     bool canary)
{
    for (uint32_t i = 0; i < devices; i++) {
        const double when = -log(uniform(rng)) / hazard;
        if (when < 1)
            trial->failures[trial->len++] = (struct failure){when, canary};
    }
}

/* rate: the share of control that fails within the observation. */
static void draw(struct trial *trial, struct rng *rng, double rate, double ratio)
{
    const double hazard = -log(1 - rate);
    trial->len = 0;
    draw_arm(trial, rng, trial->canaries, hazard * ratio, true);
    draw_arm(trial, rng, trial->controls, hazard, false);
    qsort(trial->failures, trial->len, sizeof *trial->failures, by_time);
}

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

/* One-sided Fisher: the chance of at least so many canary failures among all. */
static double fisher(const struct trial *trial, uint32_t canary_failed, uint32_t failed)
{
    const double all = log_choose(trial->canaries + trial->controls, failed);
    double p = 0;
    for (uint32_t k = canary_failed; k <= failed && k <= trial->canaries; k++)
        if (failed - k <= trial->controls)
            p +=
                exp(log_choose(trial->canaries, k) + log_choose(trial->controls, failed - k) - all);
    return p;
}

/* The strongest each test said at any look. */
struct said {
    double compare_e, rate_e, fisher_p;
};

static struct said look(const struct trial *trial, double p0)
{
    struct evalue_compare evalue = {0};
    struct said said = {1, 1, 1};
    uint32_t canary_failed = 0;
    for (uint32_t i = 0; i < trial->len; i++) {
        const bool canary = trial->failures[i].canary;
        evalue_compare_add(&evalue, 1, trial->canaries - canary_failed,
                           trial->controls - (i - canary_failed), canary);
        canary_failed += canary;
        said.compare_e = fmax(said.compare_e, exp(evalue_compare_log(&evalue)));
        said.fisher_p = fmin(said.fisher_p, fisher(trial, canary_failed, i + 1));
        said.rate_e = fmax(
            said.rate_e, exp(evalue_rate_log(p0, canary_failed, trial->canaries - canary_failed)));
    }
    return said;
}

/* Shares of rollouts in which each test rejected at each alpha. */
struct share {
    double compare[2], rate[2], fisher[2];
};

static struct share measure(struct trial *trial, struct rng *rng, double rate, double ratio)
{
    struct share share;
    memset(&share, 0, sizeof share);
    for (int n = 0; n < ROLLOUTS; n++) {
        draw(trial, rng, rate, ratio);
        const struct said said = look(trial, 0.02);
        for (int a = 0; a < 2; a++) {
            share.compare[a] += said.compare_e >= 1 / alphas[a];
            share.rate[a] += said.rate_e >= 1 / alphas[a];
            share.fisher[a] += said.fisher_p <= alphas[a];
        }
    }
    for (int a = 0; a < 2; a++) {
        share.compare[a] /= ROLLOUTS;
        share.rate[a] /= ROLLOUTS;
        share.fisher[a] /= ROLLOUTS;
    }
    return share;
}

static void row(struct trial *trial, struct rng *rng, double rate, double ratio)
{
    const struct share share = measure(trial, rng, rate, ratio);
    printf("| %u/%u | %.0f %% | %.0f |", trial->canaries, trial->controls, 100 * rate, ratio);
    for (int a = 0; a < 2; a++)
        printf(" %.4f | %.4f | %.4f |", share.compare[a], share.rate[a], share.fisher[a]);
    printf("\n");
    (void)fflush(stdout);
}

static void table(struct rng *rng)
{
    static const uint32_t arms[][2] = {{10, 90}, {20, 180}, {50, 50}};
    static const double ratios[] = {1, 4, 8, 16, 50};
    struct trial trial;
    printf("Share of %d rollouts that a test stopped; it is asked after every failure.\n"
           "Ratio 1 is a false alarm (for rate: while control fails at most at p0 = 2 %%).\n\n",
           ROLLOUTS);
    printf("| canary/control | control fails | hazard ratio | compare .05 | rate .05 | Fisher .05 |"
           " compare .01 | rate .01 | Fisher .01 |\n|---|---|---|---|---|---|---|---|---|\n");
    for (size_t a = 0; a < ARRAY_LEN(arms); a++) {
        trial.canaries = arms[a][0];
        trial.controls = arms[a][1];
        for (size_t r = 0; r < ARRAY_LEN(ratios); r++)
            row(&trial, rng, 0.02, ratios[r]);
        row(&trial, rng, 0.20, 1);
    }
}

/* One step with a report each, at FLEET devices in the last wave. */

static double now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* what others run does not count */
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static struct rollout *begin(struct policy *policy, struct rng *rng)
{
    struct rollout_join *members = mem_new(FLEET, sizeof *members);
    struct rollout_stratum strata[100];
    for (uint16_t s = 0; s < 100; s++)
        strata[s] = (struct rollout_stratum){.site = s, .group = s % 4};
    for (uint32_t i = 0; i < FLEET; i++)
        members[i] = (struct rollout_join){.hash = rng_next(rng),
                                           .stratum = (uint16_t)(i % 100),
                                           .pick = ROLLOUT_PICK_NONE,
                                           .eligible = true,
                                           .online = true};
    struct rollout_input input = {.kind = ROLLOUT_IN_START, .now_ms = 1000};
    input.u.start = (struct rollout_start){.policy = policy,
                                           .has_base = true,
                                           .members = members,
                                           .members_len = FLEET,
                                           .strata = strata,
                                           .strata_len = 100,
                                           .seed = 1};
    struct rollout *rollout = rollout_new();
    struct rollout_effects effects;
    const double from_us = now_us();
    rollout_step(rollout, &input, &effects);
    printf("| start and first wave of %d devices | %.0f us |\n", FLEET, now_us() - from_us);
    mem_free(members);
    return rollout;
}

static void measure_steps(struct rng *rng)
{
    struct policy policy;
    policy_default(&policy);
    policy.waves[0] = policy.waves[2];
    policy.waves_len = 1;
    policy.admission.max_unavailable_per_site_percent = 100;
    printf("\n| cost at %d devices | |\n|---|---|\n", FLEET);
    struct rollout *rollout = begin(&policy, rng);
    double worst_us = 0;
    double sum_us = 0;
    for (uint32_t k = 0; k < REPORTS; k++) {
        struct rollout_effects effects;
        struct rollout_input input = {
            .kind = ROLLOUT_IN_ASK, .member = k, .now_ms = 1000 + (int64_t)k * 10};
        input.u.ask.attempt = 1;
        rollout_step(rollout, &input, &effects);
        memset(&input.u, 0, sizeof input.u);
        input.kind = ROLLOUT_IN_REPORT;
        input.u.report.what = ROLLOUT_REPORT_HEALTHY;
        input.u.report.attempt = 1;
        input.u.report.sequence = 1;
        const double from_us = now_us();
        rollout_step(rollout, &input, &effects);
        const double took_us = now_us() - from_us;
        sum_us += took_us;
        worst_us = fmax(worst_us, took_us);
    }
    printf("| one report and evaluation, mean of %d | %.2f us |\n", REPORTS, sum_us / REPORTS);
    printf("| the slowest of them | %.0f us |\n", worst_us);
    printf("| memory | %.1f bytes a device |\n", (double)rollout_memory_bytes(rollout) / FLEET);
    rollout_free(rollout);
}

int main(int argc, char **argv)
{
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    struct rng rng;
    rng_seed(&rng, seed);
    printf("seed %llu\n\n", (unsigned long long)seed);
    table(&rng);
    measure_steps(&rng);
    return 0;
}
