# What .ci/run and .ci/long share; they source it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT

# Chainer builds with these; see build-constraints.txt.
build_tools=("$(grep ^setuptools build-constraints.txt)" wheel)

step() { printf '\n=== %s\n' "$*"; }

# The N-th shell block of the README.
readme_command() {
    awk -v n="$1" '/^```sh$/ {k++; on = (k == n); next} /^```$/ {on = 0} on' \
        "$root/README.md"
}

# python_of 3.11 -> folder with that version's python3; fails if there is none.
python_of() {
    local candidate
    for candidate in "$HOME"/.pyenv/versions/"$1".*/bin /usr/bin /usr/local/bin; do
        if [ -x "$candidate/python3" ] && "$candidate/python3" -c \
            "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# on FUNCTION 3.9 3.10: calls it, in a shell of its own, with the first of these versions
# that is there; says so if none is.
on() {
    local function=$1 version
    shift
    for version; do
        if python_of "$version" > /dev/null; then
            ("$function" "$version")
            return
        fi
    done
    step "$function: skipped, because none of Python $* was found"
}

# Copies the files that git knows or would add, so that no ignored file hides an error.
copy_to() {
    mkdir -p "$1"
    (cd "$root"
     git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1")
}

# Makes .venv in the folder we are in, with what is named, by the lines of any pip.
install_for() {
    local version=$1
    shift
    "$(python_of "$version")/python3" -m venv .venv
    .venv/bin/pip install -q "${build_tools[@]}"
    .venv/bin/pip install -q --no-build-isolation "$@"
}

# The README's N-th command on one Python, in the folder we are in.
run_readme_command() {
    local version=$1 n=$2
    step "Python $version: the README's command $n"
    PATH="$(python_of "$version"):$PATH" bash -c "$(readme_command "$n")"
}

# Compares our files and layouts with other systems, in an environment with the tests.
against_others() {
    step 'layouts and files against other systems'
    .venv/bin/pip install -q onnx onnxruntime safetensors
    # Several gigabytes if it is not on the disk: then those tests are skipped.
    if .venv/bin/pip install -q --no-deps --no-index torch 2>/dev/null; then
        .venv/bin/pip install -q keras torch
    fi
    .venv/bin/pytest -rs tests/interchange tests/functions/test_cells.py \
        tests/test_benchmark_gpu.py tests/test_benchmarks.py
    step "the CUDA sources by NVIDIA's compiler"
    .venv/bin/pip install -q nvidia-cuda-nvrtc
    .venv/bin/pytest -rs tests/kernels/test_cuda_compile.py
    step 'several processes, with the MPI of PyPI'
    .venv/bin/pip install -q --no-build-isolation '.[mpi]'
    .venv/bin/pytest -rs tests/parallel/test_parallel.py
}
