/* SPDX-License-Identifier: Apache-2.0 */
#include "base/version.h"

#include "tessera_version.h" /* written into the build directory by cmake/version.cmake */

const char *ts_version(void)
{
    return TESSERA_VERSION;
}

const char *ts_version_commit(void)
{
    return TESSERA_COMMIT;
}
