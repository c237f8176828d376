"""Conversion of LSTM language models' weights to and from other systems.

In this package, *weights* is a dict of NumPy arrays with the parameter names of an
`RNNForLM` (see `rnnlm.interchange.weights`), and a *layer* is the part of it for one
LSTM layer.  The module of each system has the same functions:

    export_layer(layer) -> tensors        import_layer(tensors) -> layer
    export_model(weights) -> tensors      import_model(tensors) -> weights

where *tensors* is a dict of arrays with that system's names and shapes.  The system
itself need not be installed.  Modules that can read or write files also have

    read(path) -> tensors                 write(path, tensors)

Files may come from anywhere: code in them is never run, any defect raises `InputError`,
no reader uses much more memory than the size of the file, and `write` is atomic.
docs/layouts.md compares all layouts.
"""
