"""Files of other systems, from anywhere: read without running anything in them.

Each module has ``read(path)``, a dict of name -> NumPy array, and ``write(path,
tensors)``, which writes the file whole or not at all.  Whatever is wrong with a file
is an InputError; no reader takes much more memory than the file has bytes.
"""
