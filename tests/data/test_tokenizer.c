/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers that need no files: which tokens texts have, in several scripts, with emoji and with bytes that are not
 * UTF-8; and what comes back.
 */
#include "data/tokenizer.h"

#include <string.h>

#include "base/memory.h"
#include "test.h"

enum { MOST = 64 };

/* Encodes, compares with the tokens (NULL: any), decodes, and compares with `back`. */
static void expect(const char *name, const char *text, const int32_t *tokens, int64_t count, const char *back)
{
    TsTokenizer *tokenizer = NULL;
    int32_t got[MOST];
    TEST_OK(ts_tokenizer_create(&tokenizer, name));
    if (!tokenizer)
        return;
    int64_t found = ts_tokenizer_encode(tokenizer, got, MOST, text, strlen(text));
    CU_ASSERT_EQUAL(found, count);
    CU_ASSERT_TRUE(!tokens || (found == count && memcmp(got, tokens, (size_t)count * sizeof *got) == 0));
    for (int64_t i = 0; i < found; i++)
        CU_ASSERT_TRUE(got[i] >= 0 && got[i] < ts_tokenizer_vocab(tokenizer));
    size_t bytes;
    char *decoded = ts_tokenizer_decode(tokenizer, &bytes, got, found);
    bool same = bytes == strlen(back) && memcmp(decoded, back, bytes) == 0;
    if (!same)
        fprintf(stderr, "%s: \"%s\" came back as \"%s\"\n", name, text, decoded);
    CU_ASSERT_TRUE(same);
    ts_free(decoded);
    ts_tokenizer_free(&tokenizer);
}

#define LOST "\xef\xbf\xbd" /* U+FFFD */

/* Every byte is its own number, whatever it is a part of. */
static void bytes(void)
{
    static const char *const texts[] = {"Hello", "\xd0\x9f\xd1\x80\xd0\xb8", "\xf0\x9f\x98\x80", "\xff\xc3 \xe2\x82",
                                        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t tokens[MOST];
        for (size_t b = 0; texts[i][b]; b++)
            tokens[b] = (unsigned char)texts[i][b];
        expect("bytes", texts[i], tokens, (int64_t)strlen(texts[i]), texts[i]);
    }
}

/* Line feed, tab, then from blank to tilde; what is none of them is one unknown token a character, or a broken byte. */
static void characters(void)
{
    expect("characters", "a\tB\n ~", (const int32_t[]){2 + 'a' - ' ', 1, 2 + 'B' - ' ', 0, 2, 2 + '~' - ' '}, 6,
           "a\tB\n ~");
    expect("characters", "na\xc3\xafve \xf0\x9f\x98\x80", NULL, 7, "na" LOST "ve " LOST);
    expect("characters", "a\xff\xe2\x82z", NULL, 5, "a" LOST LOST LOST "z");
}

static void residues_and_nucleotides(void)
{
    expect("residues", "ACDEFGHIKLMNPQRSTVWY",
           (const int32_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 20,
           "ACDEFGHIKLMNPQRSTVWY");
    expect("residues", "mkX-*", (const int32_t[]){10, 8, 20, 27, 28}, 5, "MKX-*"); /* lower case counts as upper */
    expect("residues", "M\xc3\xa9\xff", NULL, 3, "M" LOST LOST);
    expect("nucleotides", "ACGTUNacgtun", (const int32_t[]){0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}, 12, "ACGTUNACGTUN");
    expect("nucleotides", "AXA", NULL, 3, "A" LOST "A");
}

TEST_MAIN("tokenizer", {"bytes", bytes}, {"characters", characters},
          {"residues and nucleotides", residues_and_nucleotides})
