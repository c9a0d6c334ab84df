/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/documents.h"

#include "base/check.h"
#include "base/memory.h"
#include "task/kinds/language_task.h"

enum { EVERY = 64 }; /* of so many documents one place is kept, and the others are counted from there */

struct TsDocuments {
    const TsLanguageExamples *examples;
    const TsSplit *split;
    const char *name;
    bool apart;
    int64_t *first; /* (count / EVERY + 1): the token that document i * EVERY begins with */
    int64_t tokens;
};

static int64_t example_of(const TsDocuments *documents, int64_t document)
{
    return ts_split_example(documents->split, document);
}

/* How many tokens of a document are given, and how many it has. */
static int64_t given_tokens(const TsDocuments *documents, int64_t document)
{
    const TsLanguageExamples *own = documents->examples;
    if (own->prompt < 0)
        return 0;
    return own->join_count +
           ts_dataset_tokens(own->examples.dataset, own->prompt, example_of(documents, document), NULL, 0);
}

static int64_t document_tokens(const TsDocuments *documents, int64_t document)
{
    const TsLanguageExamples *own = documents->examples;
    return given_tokens(documents, document) + 1 + /* its end */
           ts_dataset_tokens(own->examples.dataset, own->text, example_of(documents, document), NULL, 0);
}

TsDocuments *ts_documents_create(const TsLanguageExamples *examples, const TsSplit *split, const char *name, bool apart)
{
    TsDocuments *documents = ts_calloc(1, sizeof *documents);
    *documents = (TsDocuments){.examples = examples, .split = split, .name = name, .apart = apart};
    documents->first = ts_calloc((size_t)(split->count / EVERY + 1), sizeof *documents->first);
    for (int64_t i = 0; i < split->count; i++) {
        if (i % EVERY == 0)
            documents->first[i / EVERY] = documents->tokens;
        documents->tokens += document_tokens(documents, i);
    }
    return documents;
}

void ts_documents_free(TsDocuments **documents)
{
    if (!*documents)
        return;
    ts_free((*documents)->first);
    ts_free(*documents);
    *documents = NULL;
}

/* A document, where it begins in the stream, and how many tokens it has. */
typedef struct Place {
    int64_t document, first, tokens;
} Place;

static Place find_document(const TsDocuments *documents, int64_t token)
{
    int64_t low = 0, high = (documents->split->count - 1) / EVERY;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (documents->first[middle] <= token)
            low = middle;
        else
            high = middle - 1;
    }
    Place place = {low * EVERY, documents->first[low], document_tokens(documents, low * EVERY)};
    while (place.first + place.tokens <= token) {
        place.first += place.tokens;
        place.tokens = document_tokens(documents, ++place.document);
    }
    return place;
}

static void next_document(const TsDocuments *documents, Place *place)
{
    place->first += place->tokens;
    place->tokens = ++place->document < documents->split->count ? document_tokens(documents, place->document) : 0;
}

/* Copies the tokens [first, first + count) of a document. */
static void copy_document(const TsDocuments *documents, int64_t document, int32_t *tokens, int64_t first, int64_t count)
{
    const TsLanguageExamples *own = documents->examples;
    const TsDataset *dataset = own->examples.dataset;
    int64_t example = example_of(documents, document), given = given_tokens(documents, document);
    int64_t prompt = given - (own->prompt < 0 ? 0 : own->join_count), done = 0;
    int64_t text = given + ts_dataset_tokens(dataset, own->text, example, NULL, 0);
    if (first < prompt) {
        done = prompt - first < count ? prompt - first : count;
        ts_dataset_tokens_from(dataset, own->prompt, example, tokens, first, done);
    }
    for (; done < count && first + done < given; done++)
        tokens[done] = own->join[first + done - prompt];
    if (done < count && first + done < text) {
        int64_t left = text - first - done < count - done ? text - first - done : count - done;
        ts_dataset_tokens_from(dataset, own->text, example, tokens + done, first + done - given, left);
        done += left;
    }
    if (done < count)
        tokens[done] = ts_tokenizer_special(own->examples.tokenizer, TS_SPECIAL_END);
}

static void read(const void *self, TsStreamPiece piece, int64_t first, int64_t count)
{
    const TsDocuments *documents = self;
    TS_CHECK(first >= 0 && count >= 0 && first + count <= documents->tokens, "%s: tokens %lld to %lld of %lld",
             documents->name, (long long)first, (long long)(first + count), (long long)documents->tokens);
    Place place = count ? find_document(documents, first) : (Place){0};
    for (int64_t done = 0; done < count; next_document(documents, &place)) {
        int64_t in_document = first + done - place.first, left = place.tokens - in_document;
        int64_t copied = left < count - done ? left : count - done;
        int64_t given = given_tokens(documents, place.document);
        copy_document(documents, place.document, piece.tokens + done, in_document, copied);
        for (int64_t i = 0; i < copied; i++) {
            piece.given[done + i] = in_document + i < given;
            piece.documents[done + i] = (int32_t)(place.document & INT32_MAX);
        }
        done += copied;
    }
}

/* How many bytes of a document are predicted: all of its text, but the first token that has nothing before it. */
static double document_bytes(const TsDocuments *documents, int64_t document)
{
    const TsLanguageExamples *own = documents->examples;
    int64_t example = example_of(documents, document);
    size_t unseen = 0;
    int32_t first;
    if ((documents->apart || document == 0) && own->prompt < 0 &&
        ts_dataset_tokens(own->examples.dataset, own->text, example, &first, 1) > 0) {
        char *text = ts_tokenizer_decode(own->examples.tokenizer, &unseen, &first, 1);
        ts_free(text);
    }
    return (double)(ts_dataset_text_bytes(own->examples.dataset, own->text, example) - (int64_t)unseen);
}

static double bytes(const void *self, int64_t first, int64_t count)
{
    const TsDocuments *documents = self;
    double sum = 0;
    Place place = count ? find_document(documents, first) : (Place){0};
    for (; count && place.document < documents->split->count && place.first + place.tokens <= first + count;
         next_document(documents, &place))
        sum += document_bytes(documents, place.document);
    return sum;
}

TsTokenStream ts_documents_stream(const TsDocuments *documents)
{
    return (TsTokenStream){
        .tokens = documents->tokens, .name = documents->name, .self = documents, .read = read, .bytes = bytes};
}
