/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the process. Small allocations do not fail here: a process of this house that cannot get
 * them ends at once, and its state on disk is as safe as after a power cut. Large sizes that come
 * from outside are checked against a limit before they reach this file.
 */
#pragma once

#include <stddef.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Zeroed memory for count things of size bytes; owned by the caller, freed by mem_free. */
void *mem_new(size_t count, size_t size);

/* Grows (or shrinks) an array to count things; new bytes beyond old_count are zeroed. */
void *mem_grow(void *old, size_t old_count, size_t count, size_t size);

/* A copy of a string on the heap; NULL gives NULL. */
char *mem_strdup(const char *text);

/* NULL is fine. */
void mem_free(void *p);

/* For DEFER: frees what the variable points to. */
void mem_free_ref(void *pp);

/* Runs fn(&variable) when the scope ends. */
#define DEFER(fn) __attribute__((cleanup(fn)))
