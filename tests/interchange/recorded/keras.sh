#!/bin/bash
# Makes the recorded files of Keras anew, each in an environment of its own:
#     bash keras.sh FOLDER
# makes the environments in FOLDER; needs python3.6, 3.7, 3.10 and 3.11, and the network.
set -e
here=$(cd "$(dirname "$0")" && pwd)
folder=$1

make() {  # NAME PYTHON MODULE PACKAGES
    local python="$folder/$1/bin/python"
    test -e "$python" || "$2" -m venv "$folder/$1"
    "$python" -m pip install -q "${@:4}"
    "$python" "$here/make_keras.py" "$3"
}

old=(numpy==1.16.6 h5py==2.10.0 scipy==1.4.1 six pyyaml==5.1 'wheel<0.38')
export THEANO_FLAGS=optimizer=fast_compile
for version in 1.0.6 1.2.2; do
    # Built after what they need is there.
    python3.6 -m venv "$folder/keras-$version"
    "$folder/keras-$version/bin/python" -m pip install -q "${old[@]}"
    KERAS_BACKEND=theano make "keras-$version" python3.6 keras \
        --no-build-isolation Theano==1.0.5 "keras==$version"
done
KERAS_BACKEND=tensorflow make keras-2.2.4 python3.7 keras \
    numpy==1.16.6 h5py==2.10.0 tensorflow==1.13.2 keras==2.2.4 'protobuf<3.20'
make tensorflow-2.12 python3.10 tensorflow.keras tensorflow-cpu==2.12.1
make tensorflow-2.15 python3.11 tensorflow.keras tensorflow-cpu==2.15.1
KERAS_BACKEND=torch make keras-3 python3.11 keras torch keras==3.15.1 h5py
