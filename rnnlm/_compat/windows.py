"""A patch that lets Chainer's Classifier take windows (T, B) of words.

Its loss and accuracy expect logits (B, V).  The logits of a window, (T, B, V), are
reshaped to T B rows: the loss is the mean over all words of the window.
"""

# Predictors that return such logits; `rnnlm.training.windows` adds its model.
PREDICTORS: list = []

ROWS = (
    ('the Classifier of a language model does not accept windows (T, B)',
     'chainer.links.model.classifier',
     (('        self.loss = self.lossfun(self.y, t)\n',
       '        y, t = _patches.windows.flat(self, t); '
       'self.loss = self.lossfun(y, t)\n'),
      ('self.accfun(self.y, t)', 'self.accfun(y, t)'))),
)


def flat(classifier, t):
    """Returns the logits and labels of a Classifier, with a window flattened to rows.
    """
    y = classifier.y
    if isinstance(classifier.predictor, tuple(PREDICTORS)) and (
            getattr(y, 'ndim', 0) == 3 and getattr(t, 'ndim', 0) == 2):
        return y.reshape(-1, y.shape[2]), t.reshape(-1)
    return y, t
