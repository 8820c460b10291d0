/* SPDX-License-Identifier: Apache-2.0
 *
 * captain key new | ls | rm
 */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "captain/cli/passphrase.h"
#include "captain/cli/root_file.h"
#include "captain/cli/terminal.h"
#include "common/base/mem.h"

static void key_wipe(struct sign_key *key)
{
    sign_key_wipe(key);
}

static void wipe_text(char (*text)[KEY_FILE_PASSPHRASE_MAX + 1])
{
    sodium_memzero(*text, sizeof *text);
}

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(json);
    if (text)
        output_encoded(text);
    free(text);
}

static json_t *key_json(const char *name, const uint8_t *public_key, bool encrypted,
                        const char *path)
{
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    char id[17];
    json_t *json = json_object();
    str_hex(bytes_of(public_key, SIGN_PUBLIC_BYTES), hex);
    sign_key_id(public_key, id);
    (void)json_object_set_new(json, "name", json_string(name));
    (void)json_object_set_new(json, "public", json_string(hex));
    (void)json_object_set_new(json, "keyId", json_string(id));
    (void)json_object_set_new(json, "encrypted", json_boolean(encrypted));
    (void)json_object_set_new(json, "file", json_string(path));
    return json;
}

/* -- new -------------------------------------------------------------------------------------- */

static void print_new(const char *name, const uint8_t *public_key, bool encrypted, const char *path)
{
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    char id[17];
    if (output_is_json()) {
        print_json(key_json(name, public_key, encrypted, path));
        return;
    }
    str_hex(bytes_of(public_key, SIGN_PUBLIC_BYTES), hex);
    sign_key_id(public_key, id);
    output_field("key", "%s", name);
    output_field("public", "%s", hex);
    output_field("key id", "%s", id);
    output_field("file", "%s", path);
    if (encrypted)
        output_note("keep a copy of the file, and the passphrase: nobody can make them again");
    else
        output_note("the key is not encrypted: whoever reads the file can sign with it");
}

enum err_code cmd_key_new(struct invocation *invocation, struct err *err)
{
    char passphrase[KEY_FILE_PASSPHRASE_MAX + 1] DEFER(wipe_text) = "";
    struct sign_key key DEFER(key_wipe) = {0};
    const char *name = invocation->args[0];
    const char *path;
    if (keyring_new_path(name, invocation->arena, &path, err) ||
        passphrase_choose(invocation->flags[FLAG_PASSPHRASE], name, passphrase, err))
        return err->code;
    if (!passphrase[0] && !invocation->flags[FLAG_YES]) {
        err_set(err, ERR_USAGE, "a key without a passphrase belongs to whoever reads its file");
        return err_hint(err, "--yes, if that is meant (a machine that nobody sits at)");
    }
    sign_key_new(&key);
    if (key_file_save(&key, name, passphrase[0] ? passphrase : NULL, path, err))
        return err->code;
    print_new(name, key.public_key, passphrase[0] != '\0', path);
    return ERR_OK;
}

/* -- ls --------------------------------------------------------------------------------------- */

/* "root, release" */
static const char *roles_of(const struct root *root, const uint8_t *public_key, struct arena *arena)
{
    const char *all = "";
    for (size_t i = 0; i < root->roles_len; i++)
        if (role_has(&root->roles[i], public_key))
            all = output_text(
                arena_printf(arena, "%s%s%s", all, all[0] ? ", " : "", root->roles[i].name));
    return all;
}

/* root NULL: none is at hand. */
static void print_table(const struct keyring *keyring, const struct root *root, struct arena *arena)
{
    static const char *const plain[] = {"NAME", "KEY ID", "ENCRYPTED", "<PUBLIC", NULL};
    static const char *const full[] = {"NAME",  "KEY ID",  "ENCRYPTED", "ROLE",
                                       "UNTIL", "<PUBLIC", NULL};
    struct output_table *table = output_table_new(root ? full : plain);
    for (size_t i = 0; i < keyring->len; i++) {
        const struct key_file *file = &keyring->list[i].file;
        char hex[2 * SIGN_PUBLIC_BYTES + 1];
        char id[17];
        str_hex(bytes_of(file->public_key, SIGN_PUBLIC_BYTES), hex);
        sign_key_id(file->public_key, id);
        const char *sealed = file->sealed ? "yes" : "no";
        const char *name = keyring->list[i].name;
        const char *roles = root ? roles_of(root, file->public_key, arena) : "";
        const char *until = roles[0] ? output_second(arena, root->expires_ms) : "";
        if (root)
            output_table_row(table, (const char *const[]){name, id, sealed, roles, until, hex});
        else
            output_table_row(table, (const char *const[]){name, id, sealed, hex});
    }
    output_table_end(table);
}

static void print_list_json(const struct keyring *keyring, const struct root *root,
                            struct arena *arena)
{
    json_t *list = json_array();
    for (size_t i = 0; i < keyring->len; i++) {
        const struct keyring_entry *entry = &keyring->list[i];
        json_t *json =
            key_json(entry->name, entry->file.public_key, entry->file.sealed, entry->path);
        const char *roles = root ? roles_of(root, entry->file.public_key, arena) : "";
        if (roles[0]) {
            (void)json_object_set_new(json, "roles", json_string(roles));
            (void)json_object_set_new(json, "until",
                                      json_string(output_time(arena, root->expires_ms)));
        }
        (void)json_array_append_new(list, json);
    }
    json_t *json = json_object();
    (void)json_object_set_new(json, "keys", list);
    print_json(json);
}

/* A root of the context that cannot be used is said, and does not hide the keys. */
static enum err_code find_root(const struct invocation *invocation, struct root_file *ret,
                               bool *ret_found, struct err *err)
{
    const char *path;
    *ret_found = false;
    if (root_file_path(invocation, &path, err))
        return err->code;
    if (!path)
        return ERR_OK;
    *ret_found = root_file_read(path, invocation->arena, ret, err) == ERR_OK;
    if (*ret_found || invocation->flags[FLAG_ROOT])
        return err->code;
    output_note("the context's root is left out: %s", err->text);
    *err = (struct err){0};
    return ERR_OK;
}

enum err_code cmd_key_ls(struct invocation *invocation, struct err *err)
{
    struct keyring keyring;
    struct root_file root;
    bool found;
    if (find_root(invocation, &root, &found, err) || keyring_load(invocation->arena, &keyring, err))
        return err->code;
    if (output_is_json())
        print_list_json(&keyring, found ? &root.root : NULL, invocation->arena);
    else if (keyring.len)
        print_table(&keyring, found ? &root.root : NULL, invocation->arena);
    else
        output_note("no keys; captain key new NAME");
    return ERR_OK;
}

/* -- rm --------------------------------------------------------------------------------------- */

enum err_code cmd_key_rm(struct invocation *invocation, struct err *err)
{
    const char *name = invocation->args[0];
    const char *path;
    char question[200];
    if (!str_is_token(name))
        return err_set(err, ERR_USAGE, "%.80s is no name of a key", name);
    if (keyring_path(name, invocation->arena, &path, err)) {
        err->code = ERR_NOT_FOUND;
        return err_hint(err, "captain key ls");
    }
    const char *text = output_text(arena_printf(
        invocation->arena, "remove the key %s? without a copy of it nobody can sign with it again",
        name));
    if (str_copy(question, sizeof question, text))
        return err_set(err, ERR_SIZE, "the name is too long");
    if (!invocation->flags[FLAG_YES] && terminal_confirm(question, err))
        return err->code == ERR_USAGE ? err_hint(err, "--yes") : err->code;
    if (unlink(path))
        return err_sys(err, errno, "cannot remove %s", path);
    output_note("the key %s is gone", name);
    return ERR_OK;
}
