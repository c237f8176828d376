import chainer
from chainer import functions as F
from chainer import links as L


class Words(chainer.Chain):

    def __init__(self, kinds, width, train=True):
        super(Words, self).__init__(
            words=L.EmbedID(kinds, width), low=L.LSTM(width, width),
            high=L.LSTM(width, width), scores=L.Linear(width, kinds))
        self.train = train

    def forget(self):
        for layer in self.low, self.high:
            layer.reset_state()

    def __call__(self, ids):
        h = self.words(ids)
        for layer in self.low, self.high, self.scores:
            h = layer(F.dropout(h, train=self.train))
        return h
