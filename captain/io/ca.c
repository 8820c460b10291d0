/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/ca.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"

enum { HOST_MAX_BYTES = 253, SERIAL_BYTES = 16, SKEW_S = 3600, ALT_MAX_BYTES = 16 << 10 };

/* A certificate in the making. */
struct making {
    X509 *cert;
    EVP_PKEY *key;
    X509 *issuer;         /* of the authority; cert itself when it signs itself */
    EVP_PKEY *issuer_key; /* likewise */
};

static enum err_code openssl_failed(struct err *err, const char *what)
{
    char why[120];
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    ERR_clear_error();
    return err_set(err, ERR_FAILED, "%s: OpenSSL says %s", what, why);
}

static bool is_address(const char *host)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

enum err_code ca_check_host(const char *host, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    size_t len = strlen(host);
    if (is_address(host) || (len > 0 && len <= HOST_MAX_BYTES && strspn(host, allowed) == len &&
                             host[0] != '-' && host[0] != '.'))
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "\"%.80s\" is no host name or address", host);
    return err_hint(err, "for example captain.example.org, 192.0.2.7 or 2001:db8::7");
}

static bool extend(const struct making *making, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, making->issuer, making->cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension && X509_add_ext(making->cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

/* Key, serial number, dates and names; not yet signed. */
static bool begin(struct making *making, const char *name, int64_t now_s, int days)
{
    uint8_t serial[SERIAL_BYTES];
    time_t now = (time_t)now_s;
    clock_random(serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and of full length */
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    making->key = EVP_EC_gen("P-256");
    making->cert = X509_new();
    bool ok = number && making->key && making->cert && X509_set_version(making->cert, 2) == 1 &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(making->cert)) &&
              X509_time_adj_ex(X509_getm_notBefore(making->cert), 0, -SKEW_S, &now) &&
              X509_time_adj_ex(X509_getm_notAfter(making->cert), days, 0, &now) &&
              X509_NAME_add_entry_by_txt(X509_get_subject_name(making->cert), "CN", MBSTRING_UTF8,
                                         (const unsigned char *)name, -1, -1, 0) == 1 &&
              X509_set_pubkey(making->cert, making->key) == 1;
    BN_free(number);
    return ok;
}

static bool finish(const struct making *making)
{
    return X509_set_issuer_name(making->cert, X509_get_subject_name(making->issuer)) == 1 &&
           X509_sign(making->cert, making->issuer_key, EVP_sha256()) > 0;
}

/* What was written to the memory, in the arena; wiped where it was. */
static char *take_text(BIO *bio, struct arena *arena)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = len > 0 ? arena_alloc(arena, (size_t)len + 1) : NULL;
    if (text)
        memcpy(text, data, (size_t)len);
    if (len > 0)
        OPENSSL_cleanse(data, (size_t)len);
    return text;
}

static bool write_pair(const struct making *making, struct arena *arena, struct ca_pair *ret)
{
    BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    bool ok = cert && key && PEM_write_bio_X509(cert, making->cert) == 1 &&
              PEM_write_bio_PrivateKey(key, making->key, NULL, NULL, 0, NULL, NULL) == 1;
    struct ca_pair pair = {ok ? take_text(cert, arena) : NULL, ok ? take_text(key, arena) : NULL};
    BIO_free(cert);
    BIO_free(key);
    if (!pair.cert || !pair.key)
        return false;
    *ret = pair;
    return true;
}

static void making_fini(struct making *making)
{
    if (making->issuer != making->cert)
        X509_free(making->issuer);
    if (making->issuer_key != making->key)
        EVP_PKEY_free(making->issuer_key);
    X509_free(making->cert);
    EVP_PKEY_free(making->key);
}

enum err_code ca_create(const char *tenant, int64_t now_s, struct arena *arena, struct ca_pair *ret,
                        struct err *err)
{
    struct making making DEFER(making_fini) = {0};
    char name[TOKEN_MAX + 32];
    (void)snprintf(name, sizeof name, "captain fleet %.64s", tenant);
    bool ok = begin(&making, name, now_s, CA_DAYS);
    making.issuer = making.cert;
    making.issuer_key = making.key;
    ok = ok && extend(&making, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
         extend(&making, NID_key_usage, "critical,keyCertSign,cRLSign") &&
         extend(&making, NID_subject_key_identifier, "hash") && finish(&making) &&
         write_pair(&making, arena, ret);
    return ok ? ERR_OK : openssl_failed(err, "making the certificate authority");
}

static enum err_code load_issuer(const struct ca_pair *ca, struct making *making, struct err *err)
{
    BIO *cert = BIO_new_mem_buf(ca->cert, -1), *key = BIO_new_mem_buf(ca->key, -1);
    making->issuer = cert ? PEM_read_bio_X509(cert, NULL, NULL, NULL) : NULL;
    making->issuer_key = key ? PEM_read_bio_PrivateKey(key, NULL, NULL, NULL) : NULL;
    BIO_free(cert);
    BIO_free(key);
    bool ok = making->issuer && making->issuer_key &&
              X509_check_private_key(making->issuer, making->issuer_key) == 1;
    ERR_clear_error();
    return ok ? ERR_OK
              : err_set(err, ERR_MALFORMED, "this is no certificate authority with its own key");
}

/* "DNS:a,IP:192.0.2.7" */
static enum err_code list_hosts(const char *const *hosts, size_t len, char *ret, struct err *err)
{
    size_t used = 0;
    if (len == 0 || len > CA_HOSTS_MAX)
        return err_set(err, ERR_USAGE, "a certificate is for 1 to %d hosts", CA_HOSTS_MAX);
    for (size_t i = 0; i < len; i++) {
        if (ca_check_host(hosts[i], err))
            return err->code;
        used += (size_t)snprintf(ret + used, ALT_MAX_BYTES - used, "%s%s:%s", i ? "," : "",
                                 is_address(hosts[i]) ? "IP" : "DNS", hosts[i]);
    }
    return ERR_OK;
}

enum err_code ca_issue(const struct ca_pair *ca, const char *const *hosts, size_t hosts_len,
                       int64_t now_s, struct arena *arena, struct ca_pair *ret, struct err *err)
{
    struct making making DEFER(making_fini) = {0};
    char alt[ALT_MAX_BYTES];
    enum err_code code = list_hosts(hosts, hosts_len, alt, err);
    if (code == ERR_OK)
        code = load_issuer(ca, &making, err);
    if (code != ERR_OK)
        return code;
    /* The names stand in subjectAltName; CN has room for 64 bytes only. */
    bool ok = begin(&making, "captain server", now_s, CA_SERVER_DAYS) &&
              extend(&making, NID_basic_constraints, "critical,CA:FALSE") &&
              extend(&making, NID_key_usage, "critical,digitalSignature") &&
              extend(&making, NID_ext_key_usage, "serverAuth") &&
              extend(&making, NID_subject_alt_name, alt) &&
              extend(&making, NID_subject_key_identifier, "hash") &&
              extend(&making, NID_authority_key_identifier, "keyid") && finish(&making) &&
              write_pair(&making, arena, ret);
    return ok ? ERR_OK : openssl_failed(err, "making the server's certificate");
}
