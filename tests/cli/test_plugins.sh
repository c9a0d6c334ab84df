#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# The plug-ins under examples/plugins, each built against the installed headers alone: a task, an adapter, a backbone, an
# optimizer, a metric and a source of data learn together, are evaluated, gone on with, and predict; what is no plug-in
# is said.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${TESSERA:=build/tessera}"
[ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-plugins.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
failed=0
verdict() { if [ "$2" = yes ]; then echo "good: $1"; else echo "bad: $1"; tail -5 "$top/out" | cut -c 1-400; failed=1; fi; }

cmake --install "$(dirname "$TESSERA")" --prefix "$top/usr" >"$top/out" 2>&1 || { verdict 'the installation' no; exit 1; }
include=$(find "$top/usr" -type d -path '*include/tessera' | head -1)
for plugin in adapter backbone optimizer metric data_source task; do
    cc -std=c17 -Wall -Wextra -Werror -shared -fPIC -I"$(dirname "$include")" -I"$include" "examples/plugins/$plugin.c" -o "$top/$plugin.so" >"$top/out" 2>&1
    verdict "$plugin.c is built" "$([ $? = 0 ] && echo yes)"
done
awk 'BEGIN { srand(2); for (i = 0; i < 80; i++) {
    word = ""; n = 0
    for (k = 0; k < 6; k++) { c = int(4 * rand()); word = word substr("abcd", c + 1, 1); n += c == 0 }
    print word; print n } }' >"$top/d.pairs"
cat >"$top/job.yaml" <<YAML
plugins: [$top/adapter.so, $top/backbone.so, $top/optimizer.so, $top/metric.so, $top/data_source.so, $top/task.so]
run: {dir: $top/run, seed: 1, steps: 60, log: 20 steps, evaluate: 20 steps, threads: 1}
backbone: {type: bag, width: 16, context: 16}
learner: {optimizer: {type: rmsprop, rate: 0.01}}
tasks:
  own: {type: median_regression, adapter: {type: gated_pool, hidden: 8}, metrics: [within_one, mae],
        data: {files: [$top/d.pairs], tokenizer: bytes, length: 8, batch: 8, split: {type: fraction, validation: 0.2}}}
YAML
run() { # run RANKS COMMAND [word...]
    local count=$1 command=$2
    shift 2
    timeout -k 5 60 mpirun --oversubscribe --bind-to none -n "$count" "$TESSERA" "$command" "$top/job.yaml" "$@" </dev/null >"$top/out" 2>&1
}
run 2 train run.steps=40
verdict 'all six learn together' "$([ $? = 0 ] && grep -q 'step    40/40' "$top/out" && echo yes)"
run 1 train
verdict 'and are gone on with on another number of ranks' "$([ $? = 0 ] && grep -q 'going on after step 40' "$top/out" && grep -q 'step    60/60' "$top/out" && echo yes)"
run 2 eval
verdict 'the metric, the loss, and what the task tells' "$([ $? = 0 ] && awk -F'\t' '$2 == "within_one" && $3 > 0.8 { a = 1 }
    $2 == "too_high" && $3 > 0.1 && $3 < 0.9 { b = 1 } $2 == "mae" && $3 < 0.9 { c = 1 } END { exit !(a && b && c) }' "$top/out" && echo yes)"
"$TESSERA" ckpt show "$top/run" >"$top/out" 2>&1
verdict 'their parameters and state are kept' "$(grep -q 'parameters/backbone/mix/kernel' "$top/out" && grep -q 'parameters/tasks/own/adapter/gate/kernel' "$top/out" &&
    grep -q 'optimizer/variance/backbone/tokens/table' "$top/out" && echo yes)"
# refused NAME WORDS [override...]
refused() {
    local name=$1 words=$2
    shift 2
    run 2 train run.dir="$top/other" "$@"
    verdict "$name" "$([ $? != 0 ] && [ "$(grep -cF -- "$words" "$top/out")" = 1 ] && [ ! -e "$top/other/log.txt" ] && echo yes)"
}
refused 'a library that is not there' "the plug-in cannot be loaded: $top/none.so" plugins="[$top/none.so]"
printf 'int nothing;\n' >"$top/nothing.c" && cc -shared -fPIC "$top/nothing.c" -o "$top/nothing.so"
refused 'a library that is no plug-in' 'nothing.so is no plug-in: it has no TS_PLUGIN' plugins="[$top/nothing.so]"
printf '#include <tessera/tessera.h>\n#undef TS_PLUGIN_ABI\nconst int ts_plugin_abi = 999; TsStatus ts_plugin_begin(void); TsStatus ts_plugin_begin(void) { return TS_OK; }\n' >"$top/newer.c"
cc -shared -fPIC -I"$(dirname "$include")" -I"$include" "$top/newer.c" -o "$top/newer.so"
refused 'one of other headers' 'newer.so was built against other headers (999' plugins="[$top/newer.so]"
printf '#include <tessera/tessera.h>\nTS_PLUGIN { return ts_metric_add((TsMetricKind){"mae", "again", TS_OBSERVES_VALUES, 0}); }\n' >"$top/again.c"
cc -shared -fPIC -I"$(dirname "$include")" -I"$include" "$top/again.c" -o "$top/again.so"
refused 'a name that is taken' 'again.so: there is a metric mae already' plugins="[$top/again.so]"
refused 'without its plug-in' 'backbone.type: ' plugins='[]'

exit $failed
