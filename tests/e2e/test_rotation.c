/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that were stolen are replaced, and what they opened is closed.
 */
#include "tests/e2e/secure.h"

#include <string.h>

#include "common/nkey.h"
#include "tests/support/tempdir.h"

static void replace(struct secure *secure, const char *name)
{
    struct sign_key key;
    struct err err;
    sign_key_new(&key);
    if (nkey_save(NKEY_ACCOUNT, &key, secure_text(secure, "%s/keys/%s", secure->folder, name),
                  &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static const char *credential(struct secure *secure)
{
    return secure_content(secure, secure_path(secure, "gate-1/identity/device.creds"));
}

/* Whoever has the key of a role makes credentials of that role that no list names. A new key voids all of
 * them at once, and a device proves by its own key who it is. */
static void test_rotation__a_new_key_for_devices_voids_credentials_and_they_come_back(void **state)
{
    struct secure *secure = *state;
    struct bus_probe thief;
    secure_join(secure, 1);
    const char *old = credential(secure), *stolen = secure_path(secure, "stolen.creds");
    assert_true(strlen(old) > 0);
    tempdir_write(stolen, old, strlen(old));
    secure_end(&secure->captain);
    replace(secure, "scope-device.nk");
    secure_start_captain(secure);
    secure_wait_captain(secure);
    secure_wait_log(secure, "gate-1.log", SECURE_REFUSED, 1);
    secure_wait_log(secure, "gate-1.log", "connected to the bus", 2);
    assert_string_not_equal(credential(secure), old);
    secure_probe(secure, &thief, stolen, "_INBOX.lyon.gate-1");
    assert_int_equal(bus_start(thief.bus, &thief.err), ERR_OK);
    assert_true(bus_probe_wait(&thief, &thief.auth_errors, 1, SECURE_WAIT_MS));
    assert_int_equal(thief.connected, 0);
    bus_probe_close(&thief);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_rotation__a_new_key_for_devices_voids_credentials_and_they_come_back,
            secure_set_up_running, secure_tear_down),
    };
    return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
