"""The weights of an LSTM language model, to and from other systems.

Everywhere here *weights* is a dict of NumPy arrays with the names of an `RNNForLM`'s
parameters (see `rnnlm.interchange.weights`), and a *layer* is the part of it that is
one LSTM layer.  Each module of a system has the same functions:

    export_layer(layer) -> tensors        import_layer(tensors) -> layer
    export_model(weights) -> tensors      import_model(tensors) -> weights

where *tensors* is a dict of arrays with that system's names and shapes, and nothing
needs the system itself.  Those whose files can be read or written have also

    read(path) -> tensors                 write(path, tensors)

Files come from anywhere: nothing in them is run, whatever is wrong with one is an
`InputError`, no reader takes much more memory than the file has bytes, and `write`
writes the file whole or not at all.  All layouts side by side are in docs/layouts.md.
"""
