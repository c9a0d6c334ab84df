/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents: the examples of a part, one behind another, as a stream of tokens that is cut into rows (`pack`): of each
 * its prompt, what joins them, its text and an end. They stand in the order of the part, which no rank and no epoch
 * changes: so a row is a number, and the order of rows a keyed permutation of those.
 */
#pragma once

#include "data/split.h"
#include "data/token_stream.h"

typedef struct TsLanguageExamples TsLanguageExamples;
typedef struct TsDocuments TsDocuments;

/* All borrowed for the life of the documents; `apart`: none of them sees another. Not collective; the same on all
 * ranks. Owned by the caller: ts_documents_free. */
TsDocuments *ts_documents_create(const TsLanguageExamples *examples, const TsSplit *split, const char *name,
                                 bool apart);

/* Sets *documents to NULL; NULL is fine. */
void ts_documents_free(TsDocuments **documents);

/* Borrows the documents. */
TsTokenStream ts_documents_stream(const TsDocuments *documents);
