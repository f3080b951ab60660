#!/bin/sh
# The real vLLM server on the CPU, with the model of make_tiny_model.py.
# usage: FAIRLANE_VLLM_PYTHON=/path/to/python run_vllm.sh MODEL_FOLDER PORT [more vLLM flags]
set -eu
python=${FAIRLANE_VLLM_PYTHON:?set FAIRLANE_VLLM_PYTHON to the Python of the environment that has vLLM}
model=${1:?usage: run_vllm.sh MODEL_FOLDER PORT [more vLLM flags]}
port=${2:?usage: run_vllm.sh MODEL_FOLDER PORT [more vLLM flags]}
shift 2

# Offline, one thread, 1 GiB of KV memory, not pinned to cores: it shares the machine.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1

# Four running requests at most, so that a handful of clients makes a queue.
exec "$python" -m vllm.entrypoints.openai.api_server \
  --model "$model" --served-model-name tiny --dtype bfloat16 --enforce-eager \
  --max-model-len 2048 --max-num-seqs 4 --scheduling-policy priority \
  --host 127.0.0.1 --port "$port" "$@"
