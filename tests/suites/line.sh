#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: one thin line through the whole program: train on 2 ranks, go on on 1, decode
# default: yes
# limit: 120
. tests/suites/lib.sh

TESSERA=$BUILD/tessera
[ -x "$TESSERA" ] || cannot_run "there is no $TESSERA"
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-line.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT

# ranks N COMMAND...: the program on N ranks of one thread, never for longer than 50 s.
ranks() {
    local count=$1
    shift
    timeout -k 5 50 mpirun --oversubscribe --bind-to none -n "$count" "$TESSERA" "$@" </dev/null
}

# train NAME RANKS STEPS: to the end of step STEPS in $top/NAME.
train() {
    ranks "$2" train jobs/line.yaml run.dir="$top/$1" run.steps="$3" run.log=1 run.threads=1 >"$top/$1.$3.log" 2>&1 ||
        { tail -5 "$top/$1.$3.log"; return 1; }
}

# value FILE STEP KEY: what the last line of that step in metrics.jsonl says of KEY, of those that say something.
value() {
    sed -n "s|.*\"step\":$2,.*\"$3\":\([-+.e0-9]*\).*|\1|p" "$1" | tail -1
}

# Nats a byte of the text's bytes, each taken by itself.
entropy() {
    od -An -v -t u1 -w1 "$1" | awk '{ count[$1]++ } END { for (byte in count) { p = count[byte] / NR; sum -= p * log(p) } print sum }'
}

# 1. It learns more than how often each byte occurs.
text=$(sed -n 's/.*{text: *\([^,}]*\).*/\1/p' jobs/line.yaml)
limit=$(entropy "$text")
if train whole 2 200; then
    loss=$(value "$top/whole/metrics.jsonl" 200 lm/loss)
    tail -3 "$top/whole.200.log"
    echo "validation loss $loss nats a byte; entropy of the bytes of $text: $limit"
    if awk -v loss="$loss" -v limit="$limit" 'BEGIN { exit !(loss > 0 && loss < limit) }'; then
        ok "the validation loss falls below the entropy of single bytes"
    else
        not_ok "the validation loss falls below the entropy of single bytes" "'$loss' against '$limit'"
    fi
else
    not_ok "trains on 2 ranks" "it ended with an error"
fi

# 2. Stopped after step 100 and gone on with on one rank, it takes the same steps.
if train parts 2 100 && train parts 1 105; then
    for step in 101 105; do
        one=$(value "$top/whole/metrics.jsonl" $step loss)
        other=$(value "$top/parts/metrics.jsonl" $step loss)
        if awk -v a="$one" -v b="$other" 'BEGIN { d = a - b; exit !(a > 0 && b > 0 && d < 1e-5 && d > -1e-5) }'; then
            ok "step $step, gone on with on 1 rank, has the loss of the uninterrupted run"
        else
            not_ok "step $step, gone on with on 1 rank, has the loss of the uninterrupted run" "'$other' against '$one'"
        fi
    done
else
    not_ok "goes on on 1 rank" "it ended with an error"
fi

# 3. One seed gives one text.
sample() {
    ranks "$1" decode jobs/line.yaml run.dir="$top/whole" run.threads=1 decode.max_decode_steps=60 --prompt "Alice " --seed "$2" \
        >"$top/$3.txt" 2>"$top/$3.log" || { tail -5 "$top/$3.log"; not_ok "decodes" "seed $2 on $1 ranks"; return 1; }
}
if sample 1 1 a && sample 1 1 b && sample 2 1 c && sample 1 2 d; then
    head -c 300 "$top/a.txt"
    if [ "$(head -c 6 "$top/a.txt")" = "Alice " ] && [ "$(wc -c <"$top/a.txt")" -gt 60 ]; then
        ok "decodes a text that begins with the prompt"
    else
        not_ok "decodes a text that begins with the prompt" "see above"
    fi
    if cmp -s "$top/a.txt" "$top/b.txt"; then ok "one seed, one sample"; else not_ok "one seed, one sample" "two samples differ"; fi
    if cmp -s "$top/a.txt" "$top/c.txt"; then ok "the same on 2 ranks"; else not_ok "the same on 2 ranks" "they differ"; fi
    if cmp -s "$top/a.txt" "$top/d.txt"; then not_ok "another seed, another sample" "they are the same"; else ok "another seed, another sample"; fi
fi
