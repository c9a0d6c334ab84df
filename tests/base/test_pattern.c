/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pattern.h"

#include <string.h>

#include "test.h"

static bool found(const char *text, const char *subject)
{
    TsPattern *pattern = NULL;
    TEST_OK(ts_pattern_create(&pattern, text));
    bool is = pattern && ts_pattern_found(pattern, subject);
    ts_pattern_free(&pattern);
    CU_ASSERT_PTR_NULL(pattern);
    return is;
}

static void searches(void)
{
    CU_ASSERT_TRUE(found("bias", "layer_00/query/bias"));
    CU_ASSERT_FALSE(found("^bias", "layer_00/query/bias"));
    CU_ASSERT_TRUE(found("layer_0[0-3]/.*/kernel$", "backbone/layer_02/up/kernel"));
    CU_ASSERT_FALSE(found("layer_0[0-3]/.*/kernel$", "backbone/layer_04/up/kernel"));
    CU_ASSERT_TRUE(found("", "anything"));
    CU_ASSERT_TRUE(found("(?<!no)norm", "layer/norm"));
}

static void names_what_cannot_be_read(void)
{
    TsPattern *pattern = NULL;
    TEST_ERROR(ts_pattern_create(&pattern, "layer_(0"), "missing closing parenthesis at character 9");
    CU_ASSERT_PTR_NULL(pattern);
    TEST_ERROR(ts_pattern_create(&pattern, "a**+*"), "\"a**+*\" is not a regular expression");
}

/* A pattern that could be tried for ever gives up. */
static void ends(void)
{
    char subject[64];
    memset(subject, 'a', sizeof subject - 1);
    subject[sizeof subject - 1] = 0;
    CU_ASSERT_FALSE(found("^(a+)+(a+)+(a+)+$b", subject));
}

TEST_MAIN("pattern", {"searches", searches}, {"names what cannot be read", names_what_cannot_be_read}, {"ends", ends})
