/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/evalue.h"

#include <math.h>

static const double thetas[EVALUE_ALTERNATIVES] = {1.5, 2, 4, 8, 16};
static const double odds_ratios[EVALUE_ALTERNATIVES] = {2, 4, 8, 16, 32};

double evalue_log_mean(const double *logs, size_t len)
{
    if (len == 0)
        return 0;
    double max = logs[0];
    for (size_t i = 1; i < len; i++)
        max = fmax(max, logs[i]);
    if (isinf(max))
        return max;
    double sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += exp(logs[i] - max);
    return max + log(sum / (double)len);
}

void evalue_compare_add(struct evalue_compare *evalue, double tolerance, uint32_t canary_at_risk,
                        uint32_t control_at_risk, bool canary_failed)
{
    if (canary_failed)
        evalue->canary_failures++;
    else
        evalue->control_failures++;
    if (canary_at_risk == 0 || control_at_risk == 0)
        return;
    const double weighted = tolerance * (double)canary_at_risk;
    const double rho = weighted / (weighted + (double)control_at_risk);
    for (int j = 0; j < EVALUE_ALTERNATIVES; j++) {
        const double gain = canary_failed ? log(thetas[j]) : 0;
        evalue->log[j] += gain - log(thetas[j] * rho + 1 - rho);
    }
    evalue->max_log = fmax(evalue->max_log, evalue_compare_log(evalue));
}

double evalue_compare_log(const struct evalue_compare *evalue)
{
    return evalue_log_mean(evalue->log, EVALUE_ALTERNATIVES);
}

double evalue_compare_p(const struct evalue_compare *evalue)
{
    return fmin(1, exp(-evalue->max_log));
}

double evalue_rate_log(double p0, uint64_t failures, uint64_t successes)
{
    double logs[EVALUE_ALTERNATIVES];
    for (int m = 0; m < EVALUE_ALTERNATIVES; m++) {
        const double odds = odds_ratios[m] * p0 / (1 - p0);
        const double p = odds / (1 + odds);
        logs[m] = (double)failures * log(p / p0) + (double)successes * log((1 - p) / (1 - p0));
    }
    return evalue_log_mean(logs, EVALUE_ALTERNATIVES);
}

double evalue_zero_failures_bound(uint64_t n)
{
    return n == 0 ? 1 : 1 - pow(0.05, 1 / (double)n);
}
