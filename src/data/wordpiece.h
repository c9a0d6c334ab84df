/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece: a word is cut into the longest pieces from its beginning on that the vocabulary has; those that go on with
 * a word bear a prefix. A word of which a part fits nowhere is unknown as a whole. Devlin et al. 2019.
 */
#pragma once

#include "data/bpe.h"

typedef struct TsWordPiece {
    const TsVocabulary *vocabulary; /* borrowed */
    const char *prefix;             /* "##"; borrowed */
    int64_t most_characters;        /* of a word; longer ones are unknown */
    int32_t unknown;
} TsWordPiece;

void ts_wordpiece_encode(const TsWordPiece *pieces, const char *word, size_t word_bytes, TsTokenSink *sink,
                         void *context);
