/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/nats_conf.h"

#include <stdio.h>
#include <string.h>

/* @F: the folder, @T: the tenant, @P: the port, @O: the operator's JWT, @S and @s: the system account and
 * its claims, @R and @r, @A and @a: those of the streams' and the fleet's account.
 * tls.timeout and authorization.timeout: a thousand devices that come back at once wait for their
 * handshakes; the server's 2 s would turn them away to try again. */
static const char template[] =
    "# nats-server -c @F/server.conf\n"
    "# Written by `captain init` for the fleet \"@T\"; yours to change.\n"
    "server_name: \"@T-1\"\n"
    "listen: \"0.0.0.0:@P\"\n"
    "\n"
    "tls {\n"
    "    cert_file: \"@F/tls/server.pem\"\n"
    "    key_file: \"@F/tls/server.key\"\n"
    "    timeout: 10\n"
    "}\n"
    "authorization { timeout: 10 }\n"
    "ping_interval: \"30s\"\n"
    "ping_max: 3\n"
    "max_connections: 200000\n"
    "\n"
    "# Who is who. captain pushes newer claims of the fleet's account; they are kept in jwt/.\n"
    "operator: @O\n"
    "system_account: @S\n"
    "resolver {\n"
    "    type: full\n"
    "    dir: \"@F/jwt\"\n"
    "    allow_delete: false\n"
    "    interval: \"2m\"\n"
    "    limit: 1000\n"
    "}\n"
    "resolver_preload {\n"
    "    @S: @s\n"
    "    @R: @r\n"
    "    @A: @a\n"
    "}\n"
    "\n"
    "jetstream { store_dir: \"@F/jetstream\", max_mem: 256M, max_file: 64G }\n"
    "\n"
    "# A cluster: three servers, each with this file, a server_name of its own, and\n"
    "#   cluster { name: \"@T\", listen: \"0.0.0.0:6222\",\n"
    "#             routes: [\"nats-route://first:6222\", \"nats-route://second:6222\"],\n"
    "#             tls { cert_file: \"...\", key_file: \"...\", ca_file: \"@F/tls/ca.pem\" } }\n"
    "# Take nats-server 2.10.27 or newer for it: in older ones of a cluster two captains may both "
    "append\n"
    "# to the log.\n"
    "#\n"
    "# A leaf node at a site: here\n"
    "#   leafnodes { listen: \"0.0.0.0:7422\", tls { cert_file: \"...\", key_file: \"...\" } }\n"
    "# and there, with the credentials of a user of the fleet's account,\n"
    "#   leafnodes { remotes: [{ url: \"tls://this-host:7422\", account: @A,\n"
    "#                           credentials: \"leaf.creds\", tls { ca_file: \"ca.pem\" } }] }\n";

static const char *value_of(const struct nats_conf *conf, const char *port, char sign)
{
    switch (sign) {
    case 'F':
        return conf->folder;
    case 'T':
        return conf->tenant;
    case 'P':
        return port;
    case 'O':
        return conf->operator_jwt;
    case 'S':
        return conf->system;
    case 's':
        return conf->system_jwt;
    case 'R':
        return conf->streams;
    case 'r':
        return conf->streams_jwt;
    case 'A':
        return conf->fleet;
    case 'a':
        return conf->fleet_jwt;
    }
    return "@";
}

/* Writes the template with its values to ret, unless that is NULL; the length it has. */
static size_t fill(const struct nats_conf *conf, const char *port, char *ret)
{
    size_t len = 0;
    for (const char *c = template; *c; c++) {
        const char one[2] = {*c, '\0'};
        const char *value = *c == '@' ? value_of(conf, port, *++c) : one;
        size_t value_len = strlen(value);
        if (ret)
            memcpy(ret + len, value, value_len);
        len += value_len;
    }
    return len;
}

enum err_code nats_conf_text(const struct nats_conf *conf, struct arena *arena, const char **ret,
                             struct err *err)
{
    for (const char *c = conf->folder; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            return err_set(err, ERR_MALFORMED,
                           "folder %s has a quote, a backslash or a control character in its name",
                           conf->folder);
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)conf->port);
    char *filled = arena_alloc(arena, fill(conf, port, NULL) + 1);
    if (!filled)
        return err_set(err, ERR_SIZE, "the server's configuration is too large");
    (void)fill(conf, port, filled);
    *ret = filled;
    return ERR_OK;
}
