/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/selector.h"

#include <string.h>

enum { LABELS_MAX = 16 };

static enum err_code malformed(const char *text, struct err *err)
{
    return err_set(err, ERR_MALFORMED, "selector \"%s\" is not of the form KEY=VALUE,KEY=VALUE",
                   text);
}

static size_t count_of(const char *text)
{
    size_t count = 1;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

enum err_code selector_parse(const char *text, struct arena *arena, struct selector *ret,
                             struct err *err)
{
    const size_t len = count_of(text);
    char *copy = arena_strdup(arena, text);
    struct label *labels = len <= LABELS_MAX ? arena_alloc(arena, len * sizeof *labels) : NULL;
    char *next = copy;
    if (len > LABELS_MAX)
        return err_set(err, ERR_MALFORMED, "selector \"%s\" has more than %d labels", text,
                       LABELS_MAX);
    if (!copy || !labels)
        return err_set(err, ERR_SIZE, "selector \"%s\" takes too much memory", text);
    for (size_t i = 0; i < len; i++) {
        char *part = strsep(&next, ",");
        char *value = strchr(part, '=');
        if (!value || value == part || !value[1])
            return malformed(text, err);
        *value++ = '\0';
        labels[i] = (struct label){.key = part, .value = value};
    }
    *ret = (struct selector){.all = labels, .all_len = len};
    return ERR_OK;
}

enum err_code selector_rule(const char *text, struct arena *arena, struct cohort_selector *ret,
                            struct err *err)
{
    struct selector selector;
    enum err_code code = selector_parse(text, arena, &selector, err);
    if (code != ERR_OK)
        return code;
    struct cohort_label *labels = arena_alloc(arena, selector.all_len * sizeof *labels);
    if (!labels)
        return err_set(err, ERR_SIZE, "selector \"%s\" takes too much memory", text);
    for (size_t i = 0; i < selector.all_len; i++)
        labels[i] = (struct cohort_label){selector.all[i].key, selector.all[i].value};
    *ret = (struct cohort_selector){labels, selector.all_len};
    return ERR_OK;
}
