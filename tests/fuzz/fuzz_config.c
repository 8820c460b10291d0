/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as the agent's configuration. A complaint names the file; what is taken keeps the limits that
 * the header promises.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fact)
{
    if (!fact)
        abort();
}

static void check_taken(const struct config *config)
{
    must(str_is_token(config->device) && str_is_token(config->site) &&
         (!config->tenant || str_is_token(config->tenant)));
    must(config->folder && config->fetch_helper && config->hardware);
    must(!config->nats_cert == !config->nats_key);
    must(config->health_ms > 0 && config->telemetry_ms > 0 && config->refresh_ms > 0);
    must(config->apps_len >= 1 && config->apps_len <= CONFIG_APPS_MAX);
    for (size_t i = 0; i < config->apps_len; i++) {
        const struct config_app *app = &config->apps[i];
        must(str_is_token(app->app) && str_is_token(app->channel));
        for (size_t k = 0; app->env[k]; k++)
            must(strchr(app->env[k], '=') != NULL && k < CONFIG_ENV_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct config config;
    struct err err = {.code = ERR_OK};
    arena_init(&arena, 1 << 20);
    if (config_parse("agent.json", bytes_of(data, size), &arena, &config, &err) == ERR_OK)
        check_taken(&config);
    else
        must(strncmp(err.text, "agent.json", 10) == 0);
    arena_fini(&arena);
    return 0;
}
