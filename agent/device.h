/* SPDX-License-Identifier: Apache-2.0
 *
 * What this device is told beside its channels: labels and pins, from one signed document, accepted
 * or rejected, remembered across restarts. Membership of cohorts is asked here, since labels decide
 * it: those of the document come before those of the configuration.
 */
#pragma once

#include "agent/config.h"
#include "agent/trust.h"

struct device;

/* Recalls what the store remembers. config and store and trust are borrowed. */
MUST_USE enum err_code device_open(const struct config *config, struct agent_store *store,
                                   struct trust *trust, struct device **ret, struct err *err);
/* NULL is fine. */
void device_close(struct device *device);

/* News from the bus. True when it was accepted and is not what was known: apps look again. What is
 * rejected is in err, once; else err->code is ERR_OK. Its bytes go to the store with the turn. */
bool device_desired(struct device *device, struct bytes envelope, struct err *err);
/* Into the turn's transaction. */
MUST_USE enum err_code device_store(struct device *device, struct err *err);
void device_stored(struct device *device);

/* The release the app is held on, or NULL. */
const struct pin *device_pin(const struct device *device, const char *app);
/* The document itself; zeroed while there is none. */
const struct device_desired *device_document(const struct device *device);
/* "site/device". */
const char *device_name(const struct device *device);
/* The generation of the document whose secrets are all in place; 0: of none yet. */
uint64_t device_generation_in_force(const struct device *device);
/* Every app has its secrets by that document. True: that is news. */
bool device_put_in_force(struct device *device, uint64_t generation);
bool device_is_in(const struct device *device, const struct cohort *cohort);
