/* SPDX-License-Identifier: Apache-2.0
 *
 * An HTTP/1.1 server on 127.0.0.1 that serves one body at every path, by a thread of the test, and
 * can be told, at any time, to misbehave. It knows ranges, If-Range and ETags, and closes each
 * connection after one answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_http;

enum { FAULT_HTTP_LOCATION_MAX = 512 };

/* How the answers to come are; zeroed: as a good server. */
struct fault_http_plan {
    int status;                             /* 0: 200 or 206; else this, with a short page */
    char location[FAULT_HTTP_LOCATION_MAX]; /* with a 3xx status; "": none */
    bool loop;          /* location is the request's own path and one more 'r' */
    uint64_t cut_after; /* bytes of the body, then the connection is reset; 0: not */
    bool ignore_ranges; /* 200 with everything */
    bool wrong_range;   /* 206 with another start than asked for */
    bool no_etag;
    bool no_length;        /* the end of the connection is the end of the body */
    uint64_t claim_length; /* instead of the true Content-Length; 0: true */
    bool endless;          /* a body that never ends, without a length */
    uint32_t bytes_per_s;  /* 0: as fast as it goes */
    bool silent;           /* takes the request and says nothing */
};

/* body is copied; etag (without quotes) too. */
struct fault_http *fault_http_start(const void *body, size_t len, const char *etag);
void fault_http_free(struct fault_http *http);

uint16_t fault_http_port(const struct fault_http *http);
/* "http://127.0.0.1:PORT/file", borrowed. */
const char *fault_http_url(const struct fault_http *http);
void fault_http_plan(struct fault_http *http, const struct fault_http_plan *plan);
/* The next answers carry another file. */
void fault_http_change(struct fault_http *http, const void *body, size_t len, const char *etag);

/* Requests taken, those with a Range, bytes of body sent, since the start. */
struct fault_http_counts {
    unsigned requests;
    unsigned ranges;
    uint64_t body_bytes;
};
void fault_http_counts(struct fault_http *http, struct fault_http_counts *ret);
/* Of the requests, those whose path begins so. Dies when there were more than it can remember. */
unsigned fault_http_asked(struct fault_http *http, const char *prefix);
