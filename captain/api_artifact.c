/* SPDX-License-Identifier: Apache-2.0
 *
 * artifact.put | get: pieces of files on their way into and out of the artifact store.
 */
#include "captain/api_private.h"

enum err_code api_artifact_put(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct artifact_put *put = &request->in.artifact_put;
    struct artifact_state *state = &ret->artifact_state;
    return artifacts_put(request->captain->artifacts, put->sha256.ptr, put->size_bytes, put->offset,
                         put->data, &state->next_offset, &state->complete, err);
}

enum err_code api_artifact_get(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct artifact_get *get = &request->in.artifact_get;
    struct artifact_piece *piece = &ret->artifact_piece;
    return artifacts_get(request->captain->artifacts, get->sha256.ptr, get->offset, get->length,
                         &request->arena, &piece->data, &piece->size_bytes, err);
}
