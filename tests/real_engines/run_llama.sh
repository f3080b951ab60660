#!/bin/sh
# llama.cpp's real server on the CPU, with the model of make_tiny_gguf.py.
# usage: FAIRLANE_LLAMA_SERVER=/path/to/llama-server run_llama.sh MODEL.gguf PORT [more flags]
set -eu
server=${FAIRLANE_LLAMA_SERVER:?set FAIRLANE_LLAMA_SERVER to the path of the llama-server binary}
model=${1:?usage: run_llama.sh MODEL.gguf PORT [more flags]}
port=${2:?usage: run_llama.sh MODEL.gguf PORT [more flags]}
shift 2

# Four running requests at most (-np), so that a handful of clients makes a queue; -c is their contexts
# together. --metrics is off by default. Each open request holds an HTTP thread, and so does a reading
# of the metrics: with fewer threads than requests the page is answered only when a request has ended.
exec nice -n 19 "$server" --model "$model" --alias tiny --metrics -np 4 -c 8192 \
  --threads 1 --threads-batch 1 --threads-http 64 --host 127.0.0.1 --port "$port" "$@"
