#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: jobs/wordnet.sh OUT_DIR [WORDNET_DIR]
#
# WordNet 3.0, as Debian's package wordnet-base has it, as files of examples:
#   OUT_DIR/synsets.tsv   word, gloss, lexname: all 117,659 synsets
#   OUT_DIR/depth.tsv     word, gloss, depth: nouns and verbs, with the shortest way up to a root
set -euo pipefail
out=${1:?usage: jobs/wordnet.sh OUT_DIR [WORDNET_DIR]}
from=${2:-/usr/share/wordnet}
for part in noun verb adj adv; do
    [ -r "$from/data.$part" ] || { echo "there is no $from/data.$part: apt-get install wordnet-base" >&2; exit 1; }
done
mkdir -p "$out"
export LC_ALL=C
awk -v out="$out" '
function depth_of(synset,    n, above, i, least, d) {
    if (synset in depth) return depth[synset]
    if (synset in busy) return -1                        # the one circle among verbs
    busy[synset] = 1
    n = split(hypernyms[synset], above, " ")
    least = n ? -1 : 0
    for (i = 1; i <= n; i++) {
        d = depth_of(above[i])
        if (d >= 0 && (least < 0 || d + 1 < least)) least = d + 1
    }
    delete busy[synset]
    if (least >= 0) depth[synset] = least
    return least
}
BEGIN {
    names = "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body " \
            "noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive " \
            "noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity " \
            "noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change verb.cognition " \
            "verb.communication verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion " \
            "verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
    split(names, lexname, " ")
    for (i = 0; i < 16; i++) { hex[substr("0123456789abcdef", i + 1, 1)] = i }
    print "word\tgloss\tlexname" > (out "/synsets.tsv")
    print "word\tgloss\tdepth" > (out "/depth.tsv")
}
/^ / { next }                                            # the licence
{
    bar = index($0, " | ")
    gloss = substr($0, bar + 3)
    gsub(/\t/, " ", gloss); sub(/ +$/, "", gloss)
    split(substr($0, 1, bar - 1), field, " ")
    words = hex[substr(field[4], 1, 1)] * 16 + hex[substr(field[4], 2, 1)]
    word = field[5]; gsub(/_/, " ", word); sub(/\([a-z]+\)$/, "", word)
    print word "\t" gloss "\t" lexname[field[2] + 1] > (out "/synsets.tsv")
    if (field[3] != "n" && field[3] != "v") next
    synset = field[3] field[1]
    at = 5 + 2 * words
    for (i = 0; i < field[at] + 0; i++)
        if (substr(field[at + 1 + 4 * i], 1, 1) == "@")
            hypernyms[synset] = hypernyms[synset] " " field[at + 3 + 4 * i] field[at + 2 + 4 * i]   # pos, offset
    order[++count] = synset; line[count] = word "\t" gloss
}
END {
    for (i = 1; i <= count; i++) print line[i] "\t" depth_of(order[i]) > (out "/depth.tsv")
}' "$from"/data.noun "$from"/data.verb "$from"/data.adj "$from"/data.adv
