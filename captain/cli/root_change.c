/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/root_change.h"

#include <inttypes.h>
#include <string.h>

#include "captain/cli/output.h"
#include "captain/cli/release.h"
#include "captain/root_document.h"
#include "common/base/mem.h"

enum {
    ROLES_MAX = 8,
    ROLE_KEYS_MAX = SIGN_SIGNATURES_MAX,
    FLOORS_MAX = 256,
    REVOKED_MAX = 1024,
    WORDS_MAX = 64,
};
#define TTL_MAX_MS (3650 * INT64_C(86400000))

/* A root with room to grow; root points into it. */
struct change {
    struct root root;
    struct role roles[ROLES_MAX];
    struct bytes keys[ROLES_MAX][ROLE_KEYS_MAX + 1];
    struct release_floor floors[FLOORS_MAX];
    struct bytes revoked[REVOKED_MAX];
    const struct invocation *invocation;
    struct client *client; /* opened when captain is asked for the first time */
};

static void start(struct change *change, const struct root *current)
{
    change->root = *current;
    change->root.roles = change->roles;
    change->root.floors = change->floors;
    change->root.revoked = change->revoked;
    for (size_t i = 0; i < current->roles_len; i++) {
        change->roles[i] = current->roles[i];
        change->roles[i].keys = change->keys[i];
        memcpy(change->keys[i], current->roles[i].keys,
               current->roles[i].keys_len * sizeof change->keys[i][0]);
    }
    if (current->floors_len)
        memcpy(change->floors, current->floors, current->floors_len * sizeof change->floors[0]);
    if (current->revoked_len)
        memcpy(change->revoked, current->revoked, current->revoked_len * sizeof change->revoked[0]);
}

/* "left=right": cuts word at the sign. NULL when there is none. */
static char *cut_pair(char *word)
{
    char *sign = strchr(word, '=');
    if (!sign || sign == word || !sign[1])
        return NULL;
    *sign = '\0';
    return sign + 1;
}

static enum err_code bad_pair(const char *flag, const char *word, const char *form, struct err *err)
{
    err_set(err, ERR_USAGE, "--%s %.80s is not of the form %s", flag, word, form);
    return err_hint(err, "roles are root, release and desired");
}

static struct role *find_role(struct change *change, const char *name)
{
    for (size_t i = 0; i < change->root.roles_len; i++)
        if (str_equal(change->roles[i].name, name))
            return &change->roles[i];
    return NULL;
}

/* "ROLE=VALUE" into its role and value. */
static enum err_code role_pair(struct change *change, const char *flag, char *word,
                               struct role **ret_role, char **ret_value, struct err *err)
{
    *ret_value = cut_pair(word);
    *ret_role = *ret_value ? find_role(change, word) : NULL;
    if (!*ret_value)
        return bad_pair(flag, word, "ROLE=VALUE", err);
    if (!*ret_role)
        return err_set(err, ERR_USAGE, "there is no role %.80s, but: root, release, desired", word);
    return ERR_OK;
}

static struct bytes *keys_of(struct change *change, const struct role *role)
{
    return change->keys[role - change->roles];
}

static enum err_code add_key(void *arg, char *word, struct err *err)
{
    struct change *change = arg;
    struct role *role;
    char *value;
    uint8_t key[SIGN_PUBLIC_BYTES];
    if (role_pair(change, "add", word, &role, &value, err) ||
        keyring_public(value, change->invocation->arena, key, err))
        return err->code;
    if (role_has(role, key))
        return err_set(err, ERR_USAGE, "role %s has the key %.80s already", role->name, value);
    if (role->keys_len == ROLE_KEYS_MAX)
        return err_set(err, ERR_USAGE, "role %s has %d keys already", role->name, ROLE_KEYS_MAX);
    const uint8_t *copy = arena_dup(change->invocation->arena, key, sizeof key);
    if (!copy)
        return err_set(err, ERR_SIZE, "the root document is too large");
    keys_of(change, role)[role->keys_len++] = bytes_of(copy, sizeof key);
    return ERR_OK;
}

/* By key id, which is what `root show` prints, or by what --add takes. */
static bool key_is(const struct bytes *key, const char *value, const uint8_t *public_key)
{
    char id[17];
    sign_key_id(key->ptr, id);
    return str_equal(id, value) ||
           (public_key && bytes_equal(*key, bytes_of(public_key, SIGN_PUBLIC_BYTES)));
}

static enum err_code remove_key(void *arg, char *word, struct err *err)
{
    struct change *change = arg;
    struct role *role;
    char *value;
    uint8_t key[SIGN_PUBLIC_BYTES];
    struct err ignored;
    if (role_pair(change, "remove", word, &role, &value, err))
        return err->code;
    bool is_key = keyring_public(value, change->invocation->arena, key, &ignored) == ERR_OK;
    struct bytes *keys = keys_of(change, role);
    for (size_t i = 0; i < role->keys_len; i++)
        if (key_is(&keys[i], value, is_key ? key : NULL)) {
            memmove(&keys[i], &keys[i + 1], (role->keys_len - i - 1) * sizeof *keys);
            role->keys_len--;
            return ERR_OK;
        }
    err_set(err, ERR_USAGE, "role %s has no key %.80s", role->name, value);
    return err_hint(err, "captain root show");
}

static enum err_code set_threshold(void *arg, char *word, struct err *err)
{
    struct change *change = arg;
    struct role *role;
    char *value;
    uint64_t number;
    if (role_pair(change, "threshold", word, &role, &value, err))
        return err->code;
    if (str_u64(value, SIGN_SIGNATURES_MAX, &number) || number == 0)
        return bad_pair("threshold", value, "ROLE=N", err);
    role->threshold = (uint32_t)number;
    return ERR_OK;
}

static enum err_code set_floor(void *arg, char *word, struct err *err)
{
    struct change *change = arg;
    char *value = cut_pair(word);
    uint64_t sequence;
    if (!value || !str_is_token(word) || str_u64(value, INT64_MAX, &sequence)) {
        err_set(err, ERR_USAGE, "--floor %.80s is not of the form APP=SEQUENCE", word);
        return err_hint(err, "captain release ls shows the sequence of each release");
    }
    size_t at = 0;
    while (at < change->root.floors_len && !str_equal(change->floors[at].app, word))
        at++;
    if (at == FLOORS_MAX)
        return err_set(err, ERR_FULL, "a root has at most %d floors", FLOORS_MAX);
    if (at == change->root.floors_len)
        change->root.floors_len++;
    else if (sequence < change->floors[at].sequence)
        output_note("note: devices that saw the floor %" PRIu64 " of %s keep it",
                    change->floors[at].sequence, word);
    change->floors[at] = (struct release_floor){.app = word, .sequence = sequence};
    return ERR_OK;
}

/* APP@VERSION: captain knows its digest. */
static enum err_code ask_digest(struct change *change, const char *name,
                                uint8_t ret[static DIGEST_BYTES], struct err *err)
{
    struct arena *arena = change->invocation->arena;
    struct release_query query;
    struct release_info info;
    if (release_query_parse(name, arena, &query, err) ||
        (!change->client && client_open(change->invocation, &change->client, err)) ||
        release_ask(change->client, "show", &query, arena, &info, err))
        return err->code;
    return str_unhex(info.digest, ret, DIGEST_BYTES)
               ? err_set(err, ERR_MALFORMED, "captain told no digest of %s", name)
               : ERR_OK;
}

static enum err_code revoke_release(void *arg, char *word, struct err *err)
{
    struct change *change = arg;
    uint8_t digest[DIGEST_BYTES];
    if (strchr(word, '@')) {
        if (ask_digest(change, word, digest, err))
            return err->code;
    } else if (strlen(word) != 2 * DIGEST_BYTES || str_unhex(word, digest, sizeof digest)) {
        err_set(err, ERR_USAGE, "--revoke %.80s is neither APP@VERSION nor a digest", word);
        return err_hint(err, "a digest has 64 hexadecimal digits: captain release show");
    }
    struct bytes one = bytes_of(digest, sizeof digest);
    for (size_t i = 0; i < change->root.revoked_len; i++)
        if (bytes_equal(change->revoked[i], one))
            return err_set(err, ERR_USAGE, "%.80s is revoked already", word);
    if (change->root.revoked_len == REVOKED_MAX) {
        err_set(err, ERR_FULL, "a root revokes at most %d releases", REVOKED_MAX);
        return err_hint(err, "--floor puts an end to all old releases of an app at once");
    }
    one.ptr = arena_dup(change->invocation->arena, digest, sizeof digest);
    if (!one.ptr)
        return err_set(err, ERR_SIZE, "the root document is too large");
    change->revoked[change->root.revoked_len++] = one;
    return ERR_OK;
}

static enum err_code set_expiry(struct change *change, int64_t now_ms, struct err *err)
{
    const char *text = change->invocation->flags[FLAG_TTL];
    int64_t ttl_ms = ROOT_DOCUMENT_VALID_MS;
    if (text && (str_duration_ms(text, &ttl_ms) || ttl_ms <= 0 || ttl_ms > TTL_MAX_MS)) {
        err_set(err, ERR_USAGE, "--ttl %.40s is no time up to ten years", text);
        return err_hint(err, "--ttl 365d");
    }
    change->root.expires_ms = now_ms + ttl_ms;
    return ERR_OK;
}

static void close_client(struct change **change)
{
    if (*change && (*change)->client)
        client_close((*change)->client);
}

enum err_code root_change_apply(const struct invocation *invocation, const struct root *current,
                                int64_t now_ms, struct root *ret, struct err *err)
{
    /* Keys go before others come, so that one can take the last place of another. */
    static const struct {
        enum flag_id flag;
        keyring_word_fn apply;
    } steps[] = {{FLAG_REMOVE, remove_key},
                 {FLAG_ADD, add_key},
                 {FLAG_THRESHOLD, set_threshold},
                 {FLAG_FLOOR, set_floor},
                 {FLAG_REVOKE, revoke_release}};
    struct change *change DEFER(close_client) = arena_alloc(invocation->arena, sizeof *change);
    if (!change)
        return err_set(err, ERR_SIZE, "no room for another root");
    change->invocation = invocation;
    start(change, current);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const char *words = invocation->flags[steps[i].flag];
        if (words && keyring_each(words, WORDS_MAX, invocation->arena, steps[i].apply, change, err))
            return err->code;
    }
    change->root.version++;
    if (set_expiry(change, now_ms, err) || root_document_check(&change->root, err))
        return err->code;
    *ret = change->root;
    return ERR_OK;
}

/* -- differences ------------------------------------------------------------------------------ */

/* The keys that role a has and role b has not. */
static void print_keys(const char *what, const struct role *a, const struct role *b,
                       const struct keyring *keyring, struct arena *arena)
{
    for (size_t i = 0; a && i < a->keys_len; i++)
        if (!role_has(b, a->keys[i].ptr))
            output_field("change", "role %s: %s %s", a->name, what,
                         role_key_text(keyring, a->keys[i].ptr, arena));
}

static bool revokes(const struct root *root, struct bytes digest)
{
    for (size_t i = 0; i < root->revoked_len; i++)
        if (bytes_equal(root->revoked[i], digest))
            return true;
    return false;
}

static void print_revoked(const char *what, const struct root *a, const struct root *b)
{
    for (size_t i = 0; i < a->revoked_len; i++) {
        char hex[DIGEST_HEX];
        if (revokes(b, a->revoked[i]))
            continue;
        str_hex(a->revoked[i], hex);
        output_field("change", "%s %s", what, hex);
    }
}

static void print_floors(const struct root *old, const struct root *next)
{
    for (size_t i = 0; i < next->floors_len; i++) {
        const struct release_floor *floor = &next->floors[i];
        uint64_t before = trust_floor(old, floor->app);
        if (floor->sequence != before)
            output_field("change", "app %s: no release below sequence %" PRIu64 ", was %" PRIu64,
                         floor->app, floor->sequence, before);
    }
    for (size_t i = 0; i < old->floors_len; i++)
        if (old->floors[i].sequence && !trust_floor(next, old->floors[i].app))
            output_field("change", "app %s: no floor any more, was %" PRIu64, old->floors[i].app,
                         old->floors[i].sequence);
}

void root_change_print(const struct root *old, const struct root *next,
                       const struct keyring *keyring, struct arena *arena)
{
    for (size_t i = 0; i < next->roles_len; i++) {
        const struct role *role = &next->roles[i];
        const struct role *before = root_role(old, role->name);
        print_keys("added", role, before, keyring, arena);
        print_keys("removed", before, role, keyring, arena);
        if (before && before->threshold != role->threshold)
            output_field("change", "role %s: %u must sign, was %u", role->name, role->threshold,
                         before->threshold);
    }
    print_floors(old, next);
    print_revoked("revoked", next, old);
    print_revoked("no longer revoked", old, next);
}
