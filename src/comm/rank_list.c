/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/rank_list.h"

#include <stdio.h>

TsRankList ts_rank_list(const bool *chosen, int ranks)
{
    TsRankList out = {""};
    size_t used = 0;
    int count = 0;
    for (int r = 0; r < ranks; r++)
        count += chosen[r];
    used += (size_t)snprintf(out.text, sizeof out.text, count == 1 ? "rank" : "ranks");
    const char *comma = " ";
    for (int r = 0; r < ranks; r++) {
        if (!chosen[r])
            continue;
        if (used > sizeof out.text - 40) {
            snprintf(out.text + used, sizeof out.text - used, ", …");
            return out;
        }
        int first = r;
        while (r + 1 < ranks && chosen[r + 1])
            r++;
        if (r == first)
            used += (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%d", comma, r);
        else
            used += (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%d-%d", comma, first, r);
        comma = ", ";
    }
    return out;
}
