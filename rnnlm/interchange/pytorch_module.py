"""Source of a torch.nn.Module that computes the same as a model, for `convert`."""
import textwrap

HEAD = textwrap.dedent('''\
    """A recurrent language model in PyTorch, written by rnnlm convert.

    load() returns the model with the weights of the .pt file in the same folder.  Ids
    are indices into the list "words" of vocabulary.json, if that file exists.
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
{output}        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, ids, state=None):
        """Computes the logits of the next words.

        Args:
            ids: (T, B), the ids of T words of B streams.
            state: (h, c), each ({n_layers}, B, {n_units}); None for zeros.

        Returns:
            tuple: The logits (T, B, {n_vocab}) and the final state.
        """
        h, state = self.lstm(self.dropout(self.embed(ids)), state)
        return {logits}, state

'''

DIFFERENT = '''\
    """Embedding, LSTM layers of other sizes, output layer; dropout between them."""

    def __init__(self, dropout={dropout}):
        super().__init__()
        sizes = {sizes}
        self.embed = torch.nn.Embedding({n_vocab}, sizes[0])
        self.lstm = torch.nn.ModuleList(
            torch.nn.LSTM(n_in, n) for n_in, n in zip(sizes, sizes[1:]))
{output}        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, ids, state=None):
        """Computes the logits of the next words.

        Args:
            ids: (T, B), the ids of T words of B streams.
            state: List of (h, c), each (1, B, n), for each layer; None for zeros.

        Returns:
            tuple: The logits (T, B, {n_vocab}) and the final state.
        """
        h, after = self.embed(ids), []
        for lstm, before in zip(self.lstm, state or [None] * len(self.lstm)):
            h, last = lstm(self.dropout(h), before)
            after.append(last)
        return {logits}, after

'''

LINEAR = '''\
        self.output = torch.nn.Linear({n}, {n_vocab})
'''

# A word's class is its rank by frequency.
ADAPTIVE = '''\
        self.output = torch.nn.AdaptiveLogSoftmaxWithLoss(
            {n}, {n_vocab}, {cutoffs},
            div_value={div_value}, head_bias={head_bias})
        for tail, m in zip(self.output.tail, {projected}):
            tail[0] = torch.nn.Linear({n}, m, bias=False)
            tail[1] = torch.nn.Linear(m, tail[1].out_features, bias=False)
        self.register_buffer('ranks', torch.arange({n_vocab}))
'''

TAIL = textwrap.dedent('''
    def load(path=os.path.splitext(os.path.abspath(__file__))[0] + '.pt'):
        """Loads the model in evaluation mode; to train it further, call train()."""
        model = RNNForLM().to(torch.{dtype})
        model.load_state_dict(
            torch.load(path, map_location='cpu', weights_only=True))
        return model.eval()
    ''')


def source(structure, dtype, dropout=None):
    """Returns the source of the Python module (str).

    Args:
        structure (rnnlm.structure.Structure): The structure, with LSTM layers only.
        dtype: Dtype of the weights.
        dropout (float): The dropout ratio in training; None if unknown, then 0.5.
    """
    units = [layer.n_units for layer in structure.layers]
    body = EQUAL if len(set(units)) == 1 else DIFFERENT
    output, logits = LINEAR, 'self.output(self.dropout(h))'
    facts = dict(n=units[-1], n_vocab=structure.n_vocab)
    if structure.adaptive:
        output = ADAPTIVE
        logits = ('self.output.log_prob(\n            self.dropout(h).flatten(0, 1))'
                  '[:, self.ranks].unflatten(0, ids.shape)')
        facts.update(structure.adaptive._asdict())
        facts['cutoffs'] = list(facts['cutoffs'])
        # These layers are replaced afterwards, but torch refuses layers of 0 units.
        n_clusters = len(facts['cutoffs'])
        facts['div_value'] = 4.0 if units[-1] >= 4 ** n_clusters else 1.0
    return HEAD + body.format(
        output=output.format(**facts), logits=logits, n_vocab=structure.n_vocab,
        n_embed=structure.n_embed, n_units=units[0],
        n_layers=len(units), sizes=[structure.n_embed, *units],
        dropout=0.5 if dropout is None else float(dropout),
    ) + TAIL.format(dtype=dtype)
