/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor.show: what should be mended, as captain sees it.
 */
#include "captain/api_private.h"
#include "captain/doctor.h"
#include "common/clock.h"

enum err_code api_doctor_show(struct api_request *request, union api_out *ret, struct err *err)
{
    struct findings *findings = arena_alloc(&request->arena, sizeof *findings);
    if (!findings)
        return api_too_large(err);
    findings->arena = &request->arena;
    findings->now_ms = clock_unix_ms();
    doctor_examine(request->captain, findings);
    ret->doctor = (struct doctor){
        .now_ms = findings->now_ms, .findings = findings->list, .findings_len = findings->len};
    return ERR_OK;
}
