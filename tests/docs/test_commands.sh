#!/usr/bin/env bash
# ranks: 2
# SPDX-License-Identifier: Apache-2.0
#
# limit: 300 s
#
# Every job under jobs/ trains, evaluates and predicts; every command of the documentation that calls the program is run,
# in short form: small nets, two steps, at most two ranks, a few made-up examples in place of the data. What stands for a
# reader's own (CONFIG, RUN, hosts) is not run; what is run must end with 0.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${TESSERA:=build/tessera}"
TESSERA=$(realpath "$TESSERA") || exit 77
[ -x "$TESSERA" ] || { echo "there is no $TESSERA"; exit 77; }
top=$(mktemp -d "${TMPDIR:-/tmp}/tessera-docs.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
source=$PWD
failed=0

# ---- a tree like that of a reader, with data of a few rows

mkdir -p "$top/bin" "$top/runs/data/wordnet" "$top/runs/data/flip"/{secondary_structure,conservation,gb1} "$top/build"
cd "$top" || exit 1
cp -r "$source/jobs" jobs
mkdir tests && ln -s "$source/tests/data" tests/data && ln -s "$top/bin/tessera" build/tessera
head -c 20000 tests/data/alice.txt >runs/data/tinyshakespeare.txt
awk 'BEGIN {
    print "word\tgloss\tlexname" >"runs/data/wordnet/synsets.tsv"; print "gloss\tdepth" >"runs/data/wordnet/depth.tsv"
    print "review\tstars" >"reviews.tsv"; print "review" >"new.tsv"
    print "sequence,target,set,validation" >"runs/data/flip/gb1/two_vs_rest.csv"
    for (i = 0; i < 150; i++) {
        gloss = "a thing of the kind " substr("abcdefgh", i % 8 + 1, 1)
        print "w" i "\t" gloss "\tnoun." i % 3 >"runs/data/wordnet/synsets.tsv"
        print gloss "\t" i % 7 >"runs/data/wordnet/depth.tsv"
        print gloss "\t" i % 5 + 1 >"reviews.tsv"; print gloss >"new.tsv"
        part = i % 5 == 4 ? "test" : "train"; held = i % 5 == 3
        print "MKV" substr("ACDEFGHI", i % 8 + 1, 1) "," i / 10 "," part "," (held ? "True" : "") >"runs/data/flip/gb1/two_vs_rest.csv"
        head = ">p" i; words = " SET=" part " VALIDATION=" (held ? "True" : "False")
        for (k = 1; k <= 2; k++) {
            dir = "runs/data/flip/" (k == 1 ? "secondary_structure" : "conservation")
            print head "\nMKVAC" >dir "/sequences.fasta"; print head words "\n" (k == 1 ? "HHECC" : "12345") >dir "/sampled.fasta"
            print head "\n11101" >dir "/mask.fasta"
        }
    }
}'
cp jobs/line.yaml gpt.yaml
sed -n '/^```yaml/,/^```$/p' "$source/docs/start.md" | grep -v '^```' >reviews.yaml # the first example of docs/start.md

# The program in short form, and mpirun with at most two ranks and none of a cluster's options.
cat >bin/tessera <<SH
#!/usr/bin/env bash
short=()
case \${1:-} in
train | eval | predict | decode | data | plan)
    for word in "\$@"; do case \$word in *.yaml) short=(run.threads=1 backbone.layers=1 backbone.heads=2 backbone.width=16); if grep -q onehot "\$word"; then short=(run.threads=1); fi ;; esac; done
    if [ \${#short[@]} -gt 0 ] && [ \$1 = train ]; then short+=(run.steps=2 run.evaluate="2 steps" run.log="1 step"); fi
    if [ \${#short[@]} -gt 0 ] && [ \$1 = decode ]; then short+=(decode.max_decode_steps=4); fi ;;
esac
exec "$TESSERA" "\$@" "\${short[@]}"
SH
mpirun=$(command -v mpirun)
cat >bin/mpirun <<SH
#!/usr/bin/env bash
count=1
while [ \$# -gt 0 ]; do
    case \$1 in
    -n | -np) count=\$(( \$2 < 2 ? \$2 : 2 )); shift 2 ;;
    -H | --map-by | --bind-to | -x | --mca) shift 2 ;;
    -*) shift ;;
    *) break ;;
    esac
done
[ \$count != 1 ] || exec "\$@"
exec $mpirun --oversubscribe --bind-to none -n \$count "\$@"
SH
chmod +x bin/tessera bin/mpirun
export PATH="$top/bin:$PATH" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

run() { # NAME COMMAND
    if timeout -k 5 60 bash -c "$2" </dev/null >"$top/out" 2>&1; then
        echo "good: $1"
    else
        echo "bad: $1 (code $?)"
        tail -5 "$top/out" | cut -c 1-300
        failed=1
    fi
}

# ---- every job

for job in jobs/*.yaml; do
    command=train part=validation
    if grep -q '^ *type: ridge' "$job"; then command=probe part=test; fi # solved, not trained
    run "$job" "mpirun -n 2 tessera $command $job && tessera eval $job --part $part --baselines"
    grep -q '^tasks:' "$job" || echo "note: $job has no tasks"
done

for job in jobs/wordnet.yaml jobs/flip-mixture.yaml; do
    for mode in joint concurrent; do
        run "$job, $mode" "mpirun -n 2 tessera train $job mixture.mode=$mode run.dir=runs/modes.$mode.$(basename "$job" .yaml)"
    done
done

# ---- every command

# not_run COMMAND: why it is not run; nothing where it is.
not_run() {
    local word
    case $1 in
    *tessera*) ;;
    *) echo "it does not call the program"; return ;;
    esac
    case $1 in
    git\ * | cmake\ * | salloc\ * | srun\ * | export\ * | cc\ *) echo "it needs more than the program"; return ;;
    esac
    for word in $1; do
        case $word in
        *CONFIG* | *RUN* | *PREFIX* | *DIR* | *FILE* | *NAME* | *…*) echo "it stands for a reader's own"; return ;;
        *.yaml | *.tsv | *.txt | *.jsonl | *.json | *.csv)
            case $1 in *"--out $word"* | *">$word"*) continue ;; esac
            [ -e "${word#*=}" ] || { echo "there is no $word"; return; } ;;
        runs/*) [ -e "$word" ] || { echo "there is no $word"; return; } ;;
        esac
    done
}

ran=0
for page in "$source"/README.md "$source"/docs/*.md; do
    while IFS= read -r line; do
        command=${line#\$ }
        command=$(sed 's/  *#.*//' <<<"$command")
        why=$(not_run "$command")
        if [ -n "$why" ]; then
            echo "not run: $(basename "$page"): $command: $why"
        else
            run "$(basename "$page"): $command" "$command"
            ran=$((ran + 1))
        fi
    done < <(sed -n '/^```console/,/^```$/p' "$page" | sed -e ':join' -e '/\\$/ { N; s/\\\n *//; b join' -e '}' | grep '^\$ ')
done
[ "$ran" -ge 8 ] || { echo "bad: only $ran commands of the documentation were run"; failed=1; }
exit $failed
