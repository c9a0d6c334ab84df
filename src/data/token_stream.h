/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenStream: tokens one behind another, found by their number: what windows are cut from. A text is one
 * (data/text_tokens.h), and so are documents that are packed (task/kinds/documents.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where tokens are written, and what is known of each; what is NULL is not asked for. */
typedef struct TsStreamPiece {
    int32_t *tokens;
    bool *given;        /* it is never predicted: it is of a prompt */
    int32_t *documents; /* the number of the document that it is of, without what goes beyond 31 bits */
} TsStreamPiece;

typedef struct TsTokenStream {
    int64_t tokens;   /* that there are */
    const char *name; /* for errors; borrowed */
    const void *self; /* borrowed */

    /* Writes the tokens [first, first + count), which are there. Called by any thread. */
    void (*read)(const void *self, TsStreamPiece piece, int64_t first, int64_t count);

    /* How many bytes of text were predicted where those are: a document counts where its last token is. NULL: each
     * token has its even part. Called by any thread. */
    double (*bytes)(const void *self, int64_t first, int64_t count);
} TsTokenStream;
