/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/device_clocks.h"

#include "common/base/mem.h"

enum { CLOCK_RIGHT, CLOCK_AHEAD, CLOCK_BEHIND, CLOCK_KINDS };

struct device_clocks {
    uint8_t *kinds; /* a device each */
    uint32_t cap;
    uint32_t counts[CLOCK_KINDS];
};

struct device_clocks *device_clocks_new(void)
{
    return mem_new(1, sizeof(struct device_clocks));
}

void device_clocks_free(struct device_clocks *clocks)
{
    if (!clocks)
        return;
    mem_free(clocks->kinds);
    mem_free(clocks);
}

static uint8_t kind_of(int64_t sent_ms, int64_t now_ms)
{
    if (sent_ms > now_ms)
        return sent_ms - now_ms > DEVICE_CLOCKS_OFF_MS ? CLOCK_AHEAD : CLOCK_RIGHT;
    return now_ms - sent_ms > DEVICE_CLOCKS_OFF_MS ? CLOCK_BEHIND : CLOCK_RIGHT;
}

void device_clocks_heard(struct device_clocks *clocks, uint32_t device, int64_t sent_ms,
                         int64_t now_ms)
{
    if (sent_ms <= 0)
        return;
    if (device >= clocks->cap) {
        const uint32_t cap = device + device / 2 + 64;
        clocks->kinds = mem_grow(clocks->kinds, clocks->cap, cap, sizeof *clocks->kinds);
        clocks->counts[CLOCK_RIGHT] += cap - clocks->cap;
        clocks->cap = cap;
    }
    clocks->counts[clocks->kinds[device]]--;
    clocks->kinds[device] = kind_of(sent_ms, now_ms);
    clocks->counts[clocks->kinds[device]]++;
}

uint32_t device_clocks_off(const struct device_clocks *clocks, uint32_t *ret_behind)
{
    *ret_behind = clocks->counts[CLOCK_BEHIND];
    return clocks->counts[CLOCK_AHEAD] + clocks->counts[CLOCK_BEHIND];
}
