/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev_scenario.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/base/suggest.h"

/* Times are scaled: what takes minutes in a fleet takes seconds here. The confirm window is 2 s, so
 * what goes wrong after 3 s has been confirmed by the device and is the gates' to see. */
static const struct dev_scenario scenarios[] = {
    {.name = "one-site",
     .what = "its health endpoint answers 500 after some seconds, on the devices of the south",
     .script = "if [ \"$CAPTAIN_SITE\" = south ]; then\n"
               "    (sleep 3; : >\"$CAPTAIN_STATE/sick-$CAPTAIN_VERSION\") &\n"
               "fi\n",
     .gates = {"coverage", "failures"},
     .canaries = 2,
     .serves = true},
    {.name = "unhealthy",
     .what = "its health endpoint answers 500 after some seconds",
     .script = "(sleep 3; : >\"$CAPTAIN_STATE/sick-$CAPTAIN_VERSION\") &\n",
     .gates = {"coverage", "failures"},
     .canaries = 1,
     .serves = true},
    {.name = "never-starts",
     .what = "it ends before it serves anything",
     .script = "echo 'hello: cannot find libhello.so.2' >&2\n"
               "exit 127\n",
     .gates = {"failures"},
     .canaries = 1},
    {.name = "crashes",
     .what = "it starts well and crashes, again and again",
     .script = "(sleep 3; kill -SEGV $$) &\n",
     .gates = {"failures", "coverage"},
     .canaries = 1,
     .serves = true},
    {.name = "hangs",
     .what = "it starts well, then takes connections and answers none",
     .script = "(sleep 3; kill -STOP $$) &\n",
     .gates = {"coverage", "failures"},
     .canaries = 1,
     .serves = true},
    {.name = "cuts-network",
     .what = "it cuts its device off from the bus",
     .script = "if [ \"$CAPTAIN_VERSION\" = 1.2 ]; then : >\"$CUT\"; fi\n",
     .gates = {"failures", "coverage"},
     .canaries = 1,
     .cuts_network = true,
     .serves = true},
    {.name = "kills-agent",
     .what = "it kills the agent, as often as it comes back",
     /* The agent is the child of a parent process that lives and starts it again. */
     .script = "above=$(awk '/^PPid:/ {print $2}' /proc/$PPID/status)\n"
               "(while sleep 0.2; do\n"
               "    for stat in /proc/[0-9]*/stat; do\n"
               "        read -r pid name state parent rest <$stat &&\n"
               "        [ \"$parent$name\" = \"$above(captain-agent)\" ] && kill -9 $pid\n"
               "    done\n"
               "done 2>/dev/null) &\n",
     .gates = {"failures", "coverage"},
     .canaries = 1,
     .serves = true},
    {.name = "grows",
     .what = "it takes more and more memory, which its telemetry tells",
     .script = "(mib=20; while sleep 0.3; do mib=$((mib + 15)); tell $mib; done) &\n",
     .metrics =
         "metrics:\n"
         "  - {name: memory, source: \"app max memory_mib\", op: below, limit: 100, count: 2, "
         "every: 1s, max_age: 10s, deadline: 40s}\n",
     .gates = {"metric"},
     .canaries = 1,
     .serves = true},
};

enum err_code dev_scenario_find(const char *name, const struct dev_scenario **ret, struct err *err)
{
    struct suggestion near;
    if (!name)
        name = scenarios[0].name;
    suggest_start(&near, name);
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        suggest_offer(&near, scenarios[i].name);
        if (!str_equal(name, scenarios[i].name))
            continue;
        *ret = &scenarios[i];
        return ERR_OK;
    }
    err_set(err, ERR_USAGE, "there is no scenario %s", name);
    if (suggest_best(&near))
        return err_hint(err, "did you mean %s?", suggest_best(&near));
    return err_hint(
        err, "one-site, unhealthy, never-starts, crashes, hangs, cuts-network, kills-agent, grows");
}
