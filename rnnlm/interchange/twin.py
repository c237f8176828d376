"""The same model in PyTorch's own words: a module to import, for the weights beside it.
"""
import textwrap

HEAD = textwrap.dedent('''\
    """A recurrent language model in PyTorch, written by rnnlm convert.

    model = load() gives it with its weights, which are in the .pt file beside this one.
    Ids are places in the list "words" of vocabulary.json, if that is beside it too.
    """
    import os

    import torch


    class RNNForLM(torch.nn.Module):
    ''')

EQUAL = '''\
    """Embedding, {n_layers} LSTM layers, output layer; dropout between them."""

    def __init__(self, dropout={dropout}):
        super().__init__()
        self.embed = torch.nn.Embedding({n_vocab}, {n_embed})
        self.lstm = torch.nn.LSTM(
            {n_embed}, {n_units}, {n_layers},
            dropout=dropout if {n_layers} > 1 else 0)
        self.output = torch.nn.Linear({n_units}, {n_vocab})
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, ids, state=None):
        """Logits of the next words.

        Args:
            ids: (T, B), the words of B texts, T steps.
            state: (h, c), each ({n_layers}, B, {n_units}); None for zeros.

        Returns:
            tuple: logits (T, B, {n_vocab}) and the state after the last step.
        """
        h, state = self.lstm(self.dropout(self.embed(ids)), state)
        return self.output(self.dropout(h)), state

'''

DIFFERENT = '''\
    """Embedding, LSTM layers of other sizes, output layer; dropout between them."""

    def __init__(self, dropout={dropout}):
        super().__init__()
        sizes = {sizes}
        self.embed = torch.nn.Embedding({n_vocab}, sizes[0])
        self.lstm = torch.nn.ModuleList(
            torch.nn.LSTM(n_in, n) for n_in, n in zip(sizes, sizes[1:]))
        self.output = torch.nn.Linear(sizes[-1], {n_vocab})
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, ids, state=None):
        """Logits of the next words.

        Args:
            ids: (T, B), the words of B texts, T steps.
            state: a list of (h, c), each (1, B, n), one for a layer; None for zeros.

        Returns:
            tuple: logits (T, B, {n_vocab}) and the state after the last step.
        """
        h, after = self.embed(ids), []
        for lstm, before in zip(self.lstm, state or [None] * len(self.lstm)):
            h, last = lstm(self.dropout(h), before)
            after.append(last)
        return self.output(self.dropout(h)), after

'''

TAIL = textwrap.dedent('''
    def load(path=os.path.splitext(os.path.abspath(__file__))[0] + '.pt'):
        """The model with its weights, for use; model.train() to train it further."""
        model = RNNForLM().to(torch.{dtype})
        model.load_state_dict(
            torch.load(path, map_location='cpu', weights_only=True))
        return model.eval()
    ''')


def source(structure, dtype, dropout=None):
    """The text of the module.

    Args:
        structure (rnnlm.structure.Structure): Of LSTM layers.
        dtype: Of the weights.
        dropout (float): What the model was trained with; 0.5 if that is not known.
    """
    units = [layer.n_units for layer in structure.layers]
    body = EQUAL if len(set(units)) == 1 else DIFFERENT
    return HEAD + body.format(
        n_vocab=structure.n_vocab, n_embed=structure.n_embed, n_units=units[0],
        n_layers=len(units), sizes=[structure.n_embed, *units],
        dropout=0.5 if dropout is None else float(dropout),
    ) + TAIL.format(dtype=dtype)
