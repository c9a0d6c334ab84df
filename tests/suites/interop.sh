#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# about: h5py and h5dump read every array of a checkpoint, TensorBoard the summaries of a run (installs both into a folder of its own)

# about: h5py and h5dump read checkpoints (installs h5py into a folder of its own); transformers loads exported models (of INTEROP_PYTHON)
