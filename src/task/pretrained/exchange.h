/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchange: pre-trained models in and out: directories with config.json and safetensors, as other programs read and
 * write them, to runs of this program and back.
 */
#pragma once

#include "base/status.h"
#include "comm/group.h"

/* Makes the run OUT_DIR of the model in `dir`: the checkpoint of step 0 with its parameters, and config.yaml, which
 * describes its backbone, and in OUT_DIR/tokenizer the files of its tokenizer. Each rank reads and writes its own
 * share. Fails where OUT_DIR has checkpoints, on a model that is not known or does not fit its config.json; then
 * nothing is left behind. Collective on group. */
TS_MUST_USE TsStatus ts_import(TsGroup *group, const char *dir, const char *out_dir);

/* Writes the backbone of the newest checkpoint of RUN_DIR that verifies as config.json and model.safetensors into
 * `out_dir`, which it makes, with the files of the tokenizer, if a task of the run has a pre-trained one. What a LoRA
 * run learned is merged into its base. The weights appear whole or not at all; ones that are there are refused. Tensors
 * are gathered one at a time. Collective on group. */
TS_MUST_USE TsStatus ts_export(TsGroup *group, const char *run_dir, const char *out_dir);
