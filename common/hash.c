/* SPDX-License-Identifier: Apache-2.0 */
#include "common/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { CHUNK_BYTES = 64 << 10 };

struct hash {
    EVP_MD_CTX *context;
};

/* SHA-256 of the default provider fails only for want of memory. */
static void must(int done)
{
    if (done != 1)
        abort();
}

struct hash *hash_new(void)
{
    struct hash *hash = mem_new(1, sizeof *hash);
    hash->context = EVP_MD_CTX_new();
    must(hash->context != NULL);
    must(EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL));
    return hash;
}

void hash_update(struct hash *hash, const void *data, size_t len)
{
    must(EVP_DigestUpdate(hash->context, data, len));
}

void hash_final(struct hash *hash, uint8_t ret[static DIGEST_BYTES])
{
    must(EVP_DigestFinal_ex(hash->context, ret, NULL));
    must(EVP_DigestInit_ex(hash->context, NULL, NULL));
}

void hash_free(struct hash *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    mem_free(hash);
}

void hash_bytes(struct bytes in, uint8_t ret[static DIGEST_BYTES])
{
    must(EVP_Digest(in.ptr, in.len, ret, NULL, EVP_sha256(), NULL));
}

static enum err_code feed_file(struct hash *hash, int fd, uint64_t *ret_size, struct err *err)
{
    unsigned char *chunk DEFER(mem_free_ref) = mem_new(1, CHUNK_BYTES);
    uint64_t size = 0;
    for (;;) {
        ssize_t got = pread(fd, chunk, CHUNK_BYTES, (off_t)size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading the file to hash it");
        if (got == 0)
            break;
        hash_update(hash, chunk, (size_t)got);
        size += (uint64_t)got;
    }
    *ret_size = size;
    return ERR_OK;
}

enum err_code hash_file(int fd, uint8_t ret[static DIGEST_BYTES], uint64_t *ret_size,
                        struct err *err)
{
    struct hash *hash = hash_new();
    enum err_code code = feed_file(hash, fd, ret_size, err);
    if (code == ERR_OK)
        hash_final(hash, ret);
    hash_free(hash);
    return code;
}
