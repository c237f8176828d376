"""Whole windows (T, B) of words in Chainer's Classifier.

Its loss and accuracy take logits (B, V).  Those of a window, (T, B, V), are T B rows
for them: the loss is the mean over all words of the window.
"""

# The predictors that give such logits; `rnnlm.training.windows` adds its model.
PREDICTORS: list = []

ROWS = (
    ('a Classifier of a language model takes no windows (T, B)',
     'chainer.links.model.classifier',
     (('        self.loss = self.lossfun(self.y, t)\n',
       '        y, t = _patches.windows.flat(self, t); '
       'self.loss = self.lossfun(y, t)\n'),
      ('self.accfun(self.y, t)', 'self.accfun(y, t)'))),
)


def flat(classifier, t):
    """The logits and labels of a Classifier, those of a window as rows."""
    y = classifier.y
    if isinstance(classifier.predictor, tuple(PREDICTORS)) and (
            getattr(y, 'ndim', 0) == 3 and getattr(t, 'ndim', 0) == 2):
        return y.reshape(-1, y.shape[2]), t.reshape(-1)
    return y, t
