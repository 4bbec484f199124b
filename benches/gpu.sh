#!/bin/bash
# Everything that is to be measured on a GPU, within a quarter of an hour: tests, WaveNet's bench, training, a render.
#
#   benches/gpu.sh KIT               on a machine with a GPU and torch; nothing is downloaded
#   benches/gpu.sh --rehearse KIT    the same at toy size on a CPU, in the environment that is there
#   benches/gpu.sh --commands KIT    prints the commands and runs nothing
#
# KIT is a folder beside the checkout, of which the SoundFont is 24 MB:
#
#   wheels/        this checkout's own (pip wheel --no-deps -w KIT/wheels .) and those of what m2m[cuda,train], pytest, hypothesis and
#                  pretty_midi need beyond torch and numpy, for the Python there (pip download --only-binary :all:); a
#                  rehearsal needs none
#   lib/           libfluidsynth.so.3 and what ldd names of it, less libc, libm and libstdc++; not where FluidSynth is installed
#   midi/          the MIDI files, piano-midi.de's
#   split.json     of them; without it, by a hash of their names
#   soundfont.sf3  FluidR3Mono_GM.sf3
#
# Results are in $OUT (gpu-out by default): a log for each step, summary.txt, and what the benches write. A step that fails or
# takes too long does not end the rest; the exit code says whether all were good.

mode=run
case $1 in --rehearse | --commands) mode=${1#--} && shift ;; esac
if [ $# -ne 1 ]; then sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit 2; fi
kit=$(realpath -m "$1")
cd "$(dirname "$(realpath "$0")")/.." || exit 1
out=$(realpath -m "${OUT:-gpu-out}")
work=${TMPDIR:-/tmp}/m2m-gpu.$$
jobs=$(nproc)
failed=0

if [ $mode = rehearse ]; then
    device=cpu toy=(--toy) seconds=8 vocoder=griffin-lim segments=() files=2 excerpt=8 without_gpu=(--help)
else
    device=cuda toy=() seconds=120 vocoder=cuda-wavenet segments=(--vocoder-opt regime=segments) files=8 excerpt=30 without_gpu=()
fi

# step NAME SECONDS COMMAND..: at most so long, its output in $OUT/NAME.log.
step() {
    local name=$1 limit=$2 began=$SECONDS code=0
    shift 2
    if [ $mode = commands ]; then printf '%q ' "$@" && echo && return; fi
    echo "== $name"
    timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    tail -n 6 "$out/$name.log"
    [ $code -eq 0 ] || failed=1
    echo "$name: $([ $code -eq 0 ] && echo good || echo "FAILED ($code)"), $((SECONDS - began)) s" | tee -a "$out/summary.txt"
}

install_kit() {
    python3 -m pip install -q --no-index --no-deps --target "$work/site" "$kit"/wheels/*.whl || return
    if [ -d "$kit/lib" ]; then # what is there already wins
        mkdir -p "$work/lib"
        for library in "$kit"/lib/*.so*; do
            ldconfig -p | grep -q "$(basename "$library") " || cp "$library" "$work/lib"
        done
    fi
}

export kit work && export -f install_kit

# A split of so many training files, two for validation and one for tests, for what has to be ready at once.
few() {
    python3 - "$kit" "$work/few.json" "$files" <<'PYTHON'
import json, sys
from pathlib import Path

from m2m.dataset.build import split_files

kit, target, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
split = kit / "split.json"
files = split_files(kit / "midi", split if split.is_file() else None)
target.write_text(json.dumps({k: v[: {"train": count, "validation": 2, "test": 1}[k]] for k, v in files.items()}))
PYTHON
}

render_to=$out/prelude.wav
split=()
if [ -f "$kit/split.json" ]; then split=(--split "$kit/split.json"); fi
build=(python3 -m m2m dataset build "$kit/midi" --soundfont "$kit/soundfont.sf3" --jobs "$jobs" --set "seconds=$excerpt")
if [ $mode != commands ]; then
    mkdir -p "$out" "$work" && : >"$out/summary.txt"
    trap 'kill "$building" 2>/dev/null; rm -rf "$work"' EXIT
fi
if [ $mode = run ]; then
    export PYTHONPATH=$work/site LD_LIBRARY_PATH=$work/lib:$LD_LIBRARY_PATH
    step install 60 bash -c install_kit
fi
if [ $mode != commands ]; then few || failed=1; fi

step gpu-tests 120 python3 -m pytest -q -rs -p no:cacheprovider tests/vocoders/wavenet/cuda/test_on_gpu.py \
    tests/vocoders/parallel_wavenet/test_vocoder.py tests/training/test_mel2mel.py tests/training/test_step.py tests/training/test_pool.py
step small-data 60 "${build[@]}" --split "$work/few.json" -o "$work/small"
# The whole data set goes on growing while the rest is measured.
if [ $mode = run ]; then
    nice "${build[@]}" "${split[@]}" -o "$work/data" >"$out/data.log" 2>&1 &
    building=$!
elif [ $mode = rehearse ]; then
    "${build[@]}" --split "$work/few.json" -o "$work/data" >"$out/data.log" 2>&1 &
    building=$!
else
    step data 0 "${build[@]}" "${split[@]}" -o "$work/data"
fi
step wavenet-bench 120 python3 benches/wavenet_cuda.py -o "$out" --seconds 1 "${without_gpu[@]}"
step wavenet-regimes 90 python3 benches/wavenet_cuda.py -o "$out/regimes" --seconds 0.5 --regime specialised --regime balanced \
    "${without_gpu[@]}"
step render 60 python3 -m m2m render examples/prelude.mid --vocoder "$vocoder" --device "$device" -o "$render_to" --overwrite
step render-segments 60 python3 -m m2m render examples/prelude.mid --vocoder "$vocoder" "${segments[@]}" --device "$device" \
    -o "$render_to" --overwrite
step agreement 200 python3 benches/gpu_training.py agreement "$work/small" -o "$out" --device "$device" "${toy[@]}"
step pace 90 python3 benches/gpu_training.py pace "$work/small" -o "$out" --device "$device" "${toy[@]}"
step curve $((seconds + 80)) python3 benches/gpu_training.py curve "$work/data" -o "$out" --device "$device" \
    --seconds "$seconds" "${toy[@]}"

if [ $mode != commands ]; then
    rm -rf "$out/runs"
    echo "== summary ($SECONDS s)" && cat "$out/summary.txt"
fi
exit $failed
