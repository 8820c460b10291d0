/* SPDX-License-Identifier: Apache-2.0
 *
 * Evidence that may be looked at as often as one likes: e-processes (Ville 1939; Vovk and Wang
 * 2021; ter Schure and others, the safe logrank test). While the null holds, P(ever E >= 1/alpha)
 * <= alpha, whatever the number of looks, waves or devices. All sums are kept as logarithms. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EVALUE_ALTERNATIVES = 5 };

/* (a) compare: is the canary arm worse than a concurrent control? Zeroed is E = 1. */
struct evalue_compare {
    double log[EVALUE_ALTERNATIVES]; /* L_j for theta in {1.5, 2, 4, 8, 16} */
    double max_log;                  /* the largest ln E so far; at least 0 */
    uint32_t canary_failures;
    uint32_t control_failures;
};

/* One first failure of one device. The numbers at risk are those of its own stratum just before it,
 * itself included; an empty arm tells nothing and changes nothing. tolerance t: the canary may fail
 * t times as often (rho' = t rho / (t rho + 1 - rho)). */
void evalue_compare_add(struct evalue_compare *evalue, double tolerance, uint32_t canary_at_risk,
                        uint32_t control_at_risk, bool canary_failed);

/* ln of the mean over the alternatives, by log-sum-exp. */
double evalue_compare_log(const struct evalue_compare *evalue);

/* The p-value that is valid at any time: min(1, 1 / max E so far). */
double evalue_compare_p(const struct evalue_compare *evalue);

/* (b) rate: ln E after failures and successes against p0 (0 < p0 < 1). */
double evalue_rate_log(double p0, uint64_t failures, uint64_t successes);

/* ln of the mean of several E (several metrics): again an e-process, however they depend on each
 * other. len 0 gives 0 (E = 1). */
double evalue_log_mean(const double *logs, size_t len);

/* What 0 failures of n say: with 95 % confidence the rate is below 1 - 0.05^(1/n); 1 for n = 0. */
double evalue_zero_failures_bound(uint64_t n);
