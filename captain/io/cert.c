/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include "common/file.h"

static bool unix_ms(const ASN1_TIME *time, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *ret = (int64_t)timegm(&tm) * 1000;
    return true;
}

enum err_code cert_dates_read(const char *path, struct arena *arena, struct cert_dates *ret,
                              struct err *err)
{
    struct bytes text;
    struct cert_dates dates;
    const enum err_code code = file_read(path, CERT_MAX_BYTES, arena, &text, err);
    if (code != ERR_OK)
        return code;
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const bool ok = cert && unix_ms(X509_get0_notBefore(cert), &dates.from_ms) &&
                    unix_ms(X509_get0_notAfter(cert), &dates.until_ms);
    X509_free(cert);
    BIO_free(bio);
    ERR_clear_error();
    if (!ok)
        return err_set(err, ERR_MALFORMED, "%s holds no certificate", path);
    *ret = dates;
    return ERR_OK;
}
