/* SPDX-License-Identifier: Apache-2.0
 *
 * TextTokens: the tokens of a part of a text file, as a stream.
 *
 * Where a token is a byte they are read straight from the file. Else the text is prepared once, by all ranks together:
 * it is cut into sections of 1 MiB or a little more, each of which ends behind a line feed where there is one near, and
 * a section is tokenised by itself. So the tokens do not depend on the number of ranks, and a text below that size is
 * tokenised whole.
 *
 *   PREPARED/text_KEY/manifest.json      what it was made of, and how many tokens each shard has
 *   PREPARED/text_KEY/shard_00000.bin    one example, whose cell "tokens" has those of some sections (data/shard.h)
 */
#pragma once

#include "data/source.h"
#include "data/token_stream.h"
#include "data/tokenizer.h"

typedef struct TsTextTokens TsTextTokens;

typedef struct TsTextSetting {
    TsGroup *group;
    const TsSource *source;       /* borrowed */
    const TsTokenizer *tokenizer; /* borrowed */
    double begin, end;            /* the part of the text's bytes, 0 <= begin < end <= 1; end 0 counts as 1 */
    bool takes_any_bytes;         /* where tokens are not bytes: it need not be UTF-8 */
    const char *prepared_dir;     /* may be NULL where a token is a byte */
} TsTextSetting;

/* The parts {0, f} and {f, 1} share no byte and leave none out; a character is cut only where tokens are bytes. Fails
 * where a part has no byte, where the text is not UTF-8, with its line, and where what is prepared cannot be written or
 * read. Collective on the group; the same status on all ranks. Same on all ranks: everything. Owned by the caller:
 * ts_text_tokens_close. */
TS_MUST_USE TsStatus ts_text_tokens_open(TsTextTokens **text, TsTextSetting setting);

/* Sets *text to NULL; NULL is fine. */
void ts_text_tokens_close(TsTextTokens **text);

/* Borrows the text. */
TsTokenStream ts_text_tokens_stream(const TsTextTokens *text);

/* The bytes of the part. */
int64_t ts_text_tokens_bytes(const TsTextTokens *text);
