#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 120 s
#
# `tessera decode` of a model that has learned nothing: prompts of the command line and of files, in their order, once
# each, the same on 1 and 2 ranks; samples, beams, stops; streams of whole characters; and what it says of bad input.
set -u
. tests/program.sh
config=(run.dir="$top/run" run.threads=1 run.steps=2 run.evaluate=never checkpoint.every=2 backbone.layers=1
    backbone.width=32 backbone.context=32)

decode() { runs "$1" decode "$top/job.yaml" "${config[@]}" "${@:2}"; }

# fails REGEX N WORDS...
fails() {
    decode "${@:2}" && fail "no error where /$1/ was expected"
    also "$1"
}
# same A B WHAT
same() {
    cmp "$1" "$2" || fail "$3"
}

cat >"$top/words.tsv" <<'WORDS'
word	gloss
ship	a vessel
dog	an animal
WORDS
for ((i = 0; i < 40; i++)); do printf 'word%d\tits gloss %d\n' $i $i; done >>"$top/words.tsv"
cat >"$top/job.yaml" <<JOB
backbone: {type: transformer, heads: 2}
tasks:
  lm:
    type: language_model
    data:
      files: [$top/words.tsv]
      columns: {prompt: word, text: gloss}
      split: {type: fraction, validation: 0.1}
      tokenizer: {type: bytes, specials: true}
      batch: 4
JOB
runs 2 train "$top/job.yaml" "${config[@]}" || { cat "$top/out"; exit 1; }

# ---- prompts are written as they were learned, and once

decode 1 --prompt ship decode.max_decode_steps=3 && also '^ship: '
decode 1 --prompt 'ship: ' decode.max_decode_steps=3 && also '^ship: ' && ! grep -q 'ship: :' "$top/out" || fail "a prompt that ends as the pattern does"
decode 1 --prompt ship decode.max_decode_steps=3 decode.prompt='<{prompt}>' && also '^<ship>'
decode 1 --json --prompt ship decode.max_decode_steps=3 && also '^\{"index": 0, "prompt": "ship", "text": '

# ---- files: one line a prompt, in their order, the same on any number of ranks

for ((i = 0; i < 7; i++)); do printf '{"prompt": "%s", "max_decode_steps": %d}\n' "$(printf 'x%.0s' $(seq $((1 + i * 3 % 5))))" $i; done >"$top/in.jsonl"
for how in "decode.samples=3 decode.top_k=9 decode.top_p=0.9" "decode.beams=3" "decode.guidance=2" "decode.temperature=0"; do
    # shellcheck disable=SC2086
    decode 1 --input "$top/in.jsonl" --output "$top/one.jsonl" --seed 4 decode.batch=3 $how || fail "$how"
    # shellcheck disable=SC2086
    decode 2 --input "$top/in.jsonl" --output "$top/two.jsonl" --seed 4 decode.batch=3 $how || fail "$how"
    sed -E 's/("(log_probability|score)": -?[0-9]+\.[0-9]{3})[0-9]*/\1/g' -i "$top/one.jsonl" "$top/two.jsonl"
    same "$top/one.jsonl" "$top/two.jsonl" "$how: 2 ranks give other lines than 1"
    [ "$(grep -oE '^\{"index": [0-9]+' "$top/one.jsonl" | grep -oE '[0-9]+' | xargs)" = "0 1 2 3 4 5 6" ] ||
        fail "$how: not one line a prompt, in order: $(cat "$top/one.jsonl")"
done
# In other batches prompts are the same, and so are their samples.
decode 1 --input "$top/in.jsonl" --output "$top/one.jsonl" --seed 4 decode.batch=7
decode 1 --input "$top/in.jsonl" --output "$top/two.jsonl" --seed 4 decode.batch=2
sed -E 's/("log_probability": -?[0-9]+\.[0-9]{3})[0-9]*/\1/g' -i "$top/one.jsonl" "$top/two.jsonl"
same "$top/one.jsonl" "$top/two.jsonl" "other batches give other samples"
printf 'ship\n\ndog\r\n' >"$top/in.txt"
decode 1 --input "$top/in.txt" && also '"index": 1, "prompt": "dog"'

# ---- a stream: whole characters, and what is printed otherwise

decode 1 --prompt ship --seed 3 decode.temperature=1.5 && mv "$top/out" "$top/whole"
decode 1 --prompt ship --seed 3 decode.temperature=1.5 --stream && mv "$top/out" "$top/streamed"
same "$top/whole" "$top/streamed" "a stream prints other text"
iconv -f UTF-8 -t UTF-8 "$top/streamed" >/dev/null || fail "the stream is not UTF-8"

# ---- bad input

printf 'x%.0s' $(seq 40) >"$top/long.txt"
fails "$top/long.txt:1: prompt 0 has 42 tokens, more than the context of 32" 2 --input "$top/long.txt"
fails 'prompt 1 has 43 tokens, more than the context of 32' 1 --prompt a --prompt "$(printf 'y%.0s' $(seq 41))"
printf '{"prompt": "a"}\n{"promt": "b"}\n' >"$top/bad.jsonl"
fails "bad.jsonl:2: \"promt\" is no key of a prompt, did you mean \"prompt\"" 2 --input "$top/bad.jsonl"
echo '{"prompt": 3}' >"$top/bad.jsonl"
fails 'bad.jsonl:1: "prompt": expected a text' 1 --input "$top/bad.jsonl"
echo '{"prompt": "a", "max_decode_steps": -1}' >"$top/bad.jsonl"
fails 'bad.jsonl:1: "max_decode_steps": expected a whole number' 1 --input "$top/bad.jsonl"
echo '{"prompt": ' >"$top/bad.jsonl"
fails 'bad.jsonl:1: is not JSON' 1 --input "$top/bad.jsonl"
fails 'nothing.jsonl' 2 --input "$top/nothing.jsonl"
fails 'beams do not go with stops' 1 --prompt a decode.beams=2 'decode.stops=[x]'
fails '999 is not a token: they are 0..260' 1 --prompt a 'decode.eos=[999]'
fails 'has no \{prompt\} in it' 1 --prompt a decode.prompt=x
fails 'prompt TEXT or --input FILE is needed' 1
rm -f "$top/one.jsonl"
fails 'more than the context' 1 --input "$top/long.txt" --output "$top/one.jsonl"
[ ! -e "$top/one.jsonl" ] || fail "an output was written in spite of an error"

[ $failures = 0 ]
