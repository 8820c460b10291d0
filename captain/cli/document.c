/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/document.h"

#include <string.h>
#include <sys/stat.h>

#include "captain/cli/output.h"
#include "common/file.h"
#include "common/hash.h"
#include "proto/codec.h"

enum { WORD_LETTERS = 5, WORDS_A_LINE = 4 };

void digest_words(const uint8_t digest[static DIGEST_BYTES], char ret[static DIGEST_WORDS_SIZE])
{
    static const char consonants[] = "bdfghjklmnprstvz";
    static const char vowels[] = "aiou";
    for (size_t i = 0; i < DIGEST_BYTES / 2; i++) {
        unsigned bits = (unsigned)digest[2 * i] << 8 | digest[2 * i + 1];
        char *word = ret + i * (WORD_LETTERS + 1);
        word[0] = consonants[bits >> 12];
        word[1] = vowels[bits >> 10 & 3];
        word[2] = consonants[bits >> 6 & 15];
        word[3] = vowels[bits >> 4 & 3];
        word[4] = consonants[bits & 15];
        word[5] = (i + 1) % WORDS_A_LINE ? ' ' : '\n';
    }
    ret[DIGEST_WORDS_SIZE - 1] = '\0';
}

static bool is_release(const char *type)
{
    return str_equal(type, SIGN_TYPE_RELEASE);
}

static const char *kind(const char *type)
{
    return is_release(type) ? "release" : "root document";
}

/* A folder means the bundle in it. */
static enum err_code find_file(const char *path, struct arena *arena, struct document *ret,
                               struct err *err)
{
    struct stat st;
    ret->path = path;
    ret->folder = NULL;
    if (!is_release(ret->type) || stat(path, &st) || !S_ISDIR(st.st_mode))
        return ERR_OK;
    ret->folder = path;
    ret->path = arena_printf(arena, "%s/release.dsse", path);
    return ret->path ? ERR_OK : err_set(err, ERR_SIZE, "the path is too long");
}

static enum err_code parse(struct document *document, struct arena *arena, struct err *err)
{
    if (codec_decode(&codec_envelope, document->bytes, arena, &document->envelope, err))
        return err_wrap(err, "%s is no %s", document->path, kind(document->type));
    if (!str_equal(document->envelope.payload_type, document->type))
        return err_set(err, ERR_MALFORMED, "%s is no %s, but of type %.100s", document->path,
                       kind(document->type), document->envelope.payload_type);
    hash_bytes(document->envelope.payload, document->digest);
    return ERR_OK;
}

enum err_code document_read(const char *type, const char *path, struct arena *arena,
                            struct document *ret, struct err *err)
{
    size_t max = is_release(type) ? SIGN_RELEASE_MAX_BYTES : SIGN_ROOT_MAX_BYTES;
    ret->type = type;
    if (find_file(path, arena, ret, err))
        return err->code;
    enum err_code code = file_read(ret->path, max, arena, &ret->bytes, err);
    if (code == ERR_NOT_FOUND) {
        err->code = ERR_USAGE;
        return is_release(type) ? err_hint(err, "captain release create -f release.yaml "
                                                "--sequence N --output DIR makes one")
                                : err_hint(err, "captain root rotate makes one");
    }
    return code ? code : parse(ret, arena, err);
}

/* The envelope with these signatures in place of what it had. */
static enum err_code put_signatures(struct document *document, const struct signature *list,
                                    size_t len, struct arena *arena, struct err *err)
{
    struct envelope next = {.payload = document->envelope.payload,
                            .payload_type = document->type,
                            .signatures = list,
                            .signatures_len = len};
    if (codec_encode(&codec_envelope, &next, arena, &document->bytes, err))
        return err->code;
    return parse(document, arena, err);
}

static enum err_code add_signature(struct signature *list, size_t *len, const struct signature *one,
                                   struct err *err)
{
    if (*len == SIGN_SIGNATURES_MAX)
        return err_set(err, ERR_FULL, "a document takes at most %d signatures",
                       SIGN_SIGNATURES_MAX);
    list[(*len)++] = *one;
    return ERR_OK;
}

static bool has_key_id(const struct envelope *envelope, const char *id)
{
    for (size_t i = 0; i < envelope->signatures_len; i++)
        if (str_equal(envelope->signatures[i].keyid, id))
            return true;
    return false;
}

enum err_code document_sign(struct document *document, const struct keyring_signers *signers,
                            struct arena *arena, struct err *err)
{
    struct signature list[SIGN_SIGNATURES_MAX] = {0};
    size_t len = 0;
    struct bytes sealed;
    struct envelope fresh;
    if (sign_seal(document->type, document->envelope.payload, signers->keys, signers->len, arena,
                  &sealed, err) ||
        codec_decode(&codec_envelope, sealed, arena, &fresh, err))
        return err->code;
    for (size_t i = 0; i < document->envelope.signatures_len; i++) {
        const struct signature *old = &document->envelope.signatures[i];
        if (!has_key_id(&fresh, old->keyid) && add_signature(list, &len, old, err))
            return err->code;
    }
    for (size_t i = 0; i < fresh.signatures_len; i++)
        if (add_signature(list, &len, &fresh.signatures[i], err))
            return err->code;
    return put_signatures(document, list, len, arena, err);
}

/* A key signs the same bytes in one way only, so what differs is another signature. */
static bool has_signature(const struct signature *list, size_t len, const struct signature *one)
{
    for (size_t i = 0; i < len; i++)
        if (bytes_equal(list[i].sig, one->sig))
            return true;
    return false;
}

static enum err_code refuse_other(const struct document *document, const struct document *other,
                                  struct err *err)
{
    char ours[DIGEST_HEX];
    char theirs[DIGEST_HEX];
    str_hex(bytes_of(document->digest, DIGEST_BYTES), ours);
    str_hex(bytes_of(other->digest, DIGEST_BYTES), theirs);
    err_set(err, ERR_CONFLICT, "%s signs another %s\n%s, not %s", other->path, kind(other->type),
            theirs, ours);
    return err_hint(err, "all must sign copies of one file: %s", document->path);
}

enum err_code document_merge(struct document *document, const struct document *other,
                             struct arena *arena, size_t *ret_added, struct err *err)
{
    struct signature list[SIGN_SIGNATURES_MAX] = {0};
    size_t len = 0;
    if (!bytes_equal(document->envelope.payload, other->envelope.payload))
        return refuse_other(document, other, err);
    for (size_t i = 0; i < document->envelope.signatures_len; i++)
        if (add_signature(list, &len, &document->envelope.signatures[i], err))
            return err->code;
    size_t before = len;
    for (size_t i = 0; i < other->envelope.signatures_len; i++)
        if (!has_signature(list, len, &other->envelope.signatures[i]) &&
            add_signature(list, &len, &other->envelope.signatures[i], err))
            return err->code;
    *ret_added = len - before;
    return put_signatures(document, list, len, arena, err);
}

enum err_code document_write(const struct document *document, const char *path, struct err *err)
{
    return file_replace(path ? path : document->path, document->bytes, 0644, err);
}

void document_print_digest(const struct document *document)
{
    char hex[DIGEST_HEX];
    char words[DIGEST_WORDS_SIZE];
    str_hex(bytes_of(document->digest, DIGEST_BYTES), hex);
    digest_words(document->digest, words);
    output_field("digest", "%s", hex);
    const char *label = "in words";
    for (char *line = words; line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        output_field(label, "%s", line);
        label = "";
        line = end ? end + 1 : NULL;
    }
}

enum err_code document_assemble(const char *type, const struct invocation *invocation,
                                struct document *ret, struct err *err)
{
    struct arena *arena = invocation->arena;
    if (document_read(type, invocation->args[0], arena, ret, err))
        return err->code;
    for (size_t i = 1; i < invocation->args_len; i++) {
        struct document other;
        size_t added;
        if (document_read(type, invocation->args[i], arena, &other, err) ||
            document_merge(ret, &other, arena, &added, err))
            return err->code;
        output_note("%s: %s", invocation->args[i],
                    added ? output_count(arena, added, "new signature") : "nothing new");
    }
    return document_write(ret, invocation->flags[FLAG_OUTPUT_DIR], err);
}
