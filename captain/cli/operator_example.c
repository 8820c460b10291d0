/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/operator_example.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "captain/cli/output.h"

/* A word for a shell. */
static const char *word(const struct operator_example *e, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:,@%+=[]";
    const char *quoted = "'";
    if (text[strspn(text, plain)] == '\0')
        return text;
    for (const char *at = text; *at && quoted; at++)
        quoted = *at == '\'' ? arena_printf(e->arena, "%s'\\''", quoted)
                             : arena_printf(e->arena, "%s%c", quoted, *at);
    return output_text(quoted ? arena_printf(e->arena, "%s'", quoted) : NULL);
}

/* A literal for JavaScript: JSON is one. */
static const char *literal(const struct operator_example *e, const char *text)
{
    json_t *json = json_string(text);
    char *dumped = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
    const char *copy = dumped ? arena_strdup(e->arena, dumped) : NULL;
    json_decref(json);
    free(dumped);
    return output_text(copy);
}

static void print_lines(const char *const *lines)
{
    for (; *lines; lines++)
        output_line("%s", *lines);
}

void operator_example_context(const struct operator_example *e)
{
    output_line("captain context create %s --url %s --creds %s --ca %s --operator %s", e->name,
                word(e, e->url), word(e, e->creds), word(e, e->ca), e->name);
}

static void print_command_line(const struct operator_example *e)
{
    output_line("%s", "");
    output_line("# With the nats command line; messages are protobuf (" CAPTAIN_PROTO ").");
    output_line(
        "nats context save %s --server %s --creds %s --tlsca %s --inbox-prefix _INBOX.op.%s",
        e->name, word(e, e->url), word(e, e->creds), word(e, e->ca), e->name);
    output_line("nats --context %s sub 'health.>'", e->name);
    output_line("nats --context %s sub fleet.summary", e->name);
    output_line("nats --context %s req api.%s.status.show ''", e->name, e->name);
}

static void print_head(const struct operator_example *e)
{
    output_line("%s", "");
    output_line("// %s.mjs: npm install nats@2 protobufjs@7; node %s.mjs", e->name, e->name);
    output_line("import { readFileSync } from 'node:fs';");
    output_line("import { connect, credsAuthenticator } from 'nats';");
    output_line("import protobuf from 'protobufjs';");
    output_line("%s", "");
    output_line("const proto = await protobuf.load(['device.proto', 'api.proto'].map(");
    output_line("  (file) => `${process.env.CAPTAIN_PROTO ?? '" CAPTAIN_PROTO "'}/${file}`));");
    output_line("const options = { longs: Number, enums: String, defaults: true };");
}

static void print_connect(const struct operator_example *e)
{
    output_line("const nats = await connect({");
    output_line("  servers: %s.split(','),", literal(e, e->url));
    output_line("  authenticator: credsAuthenticator(readFileSync(%s)),", literal(e, e->creds));
    output_line("  tls: { caFile: %s },", literal(e, e->ca));
    output_line("  inboxPrefix: '_INBOX.op.%s',", e->name);
    output_line("});");
}

void operator_example_print(const struct operator_example *example)
{
    static const char *const decode[] = {
        "const decode = (name, data) => {",
        "  const type = proto.lookupType(`captain.v1.${name}`);",
        "  return type.toObject(type.decode(data), options);",
        "};",
        NULL,
    };
    static const char *const show[] = {
        "const show = (status) => console.log(",
        "  `${status.online} of ${status.devices} devices online`);",
        "",
        "// What changes, as it changes.",
        "const listen = async (subject, fn) => {",
        "  for await (const message of nats.subscribe(subject))",
        "    fn(message.subject, message.data);",
        "};",
        "listen('fleet.summary', (_, data) => show(decode('Status', data)));",
        "listen('health.>', (subject, data) => {",
        "  for (const app of decode('Health', data).apps)",
        "    console.log(subject, app.app, app.version, app.state);",
        "});",
        "",
        "// How it is now.",
        NULL,
    };
    static const char *const tail[] = {
        "const reply = decode('ApiReply', answer.data);",
        "if (reply.code !== 0) throw new Error(`${reply.error}; ${reply.hint}`);",
        "show(decode('Status', reply.body));",
        NULL,
    };
    print_command_line(example);
    print_head(example);
    print_lines(decode);
    print_connect(example);
    print_lines(show);
    output_line("const answer = await nats.request('api.%s.status.show', new Uint8Array(),",
                example->name);
    output_line("  { timeout: 5000 });");
    print_lines(tail);
}
