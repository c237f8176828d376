"""Language models in the style of releases from 1.1 to 7.8: which one is inferred."""
import textwrap

import pytest

from rnnlm.legacy import releases, source, verdict

# Until 1.4: functions with parameters, in a FunctionSet.
FUNCTIONS = '''
    import numpy as np
    from chainer import cuda, FunctionSet, Variable
    import chainer.functions as F
    import chainer.optimizers as optimizers

    model = FunctionSet(word=F.EmbedID(9, 5), x=F.Linear(5, 20), h=F.Linear(5, 20),
                        out=F.Linear(5, 9))
    {start}

    def step(state, word, label, train=True):
        word, label = (Variable(a, volatile=not train) for a in (word, label))
        e = F.dropout(model.word(word), train=train)
        c, h = F.lstm(state['c'], model.x(e) + model.h(state['h']))
        y = model.out(F.dropout(h, train=train))
        return {{'c': c, 'h': h}}, F.softmax_cross_entropy(y, label)

    rule = optimizers.SGD(lr=1.)
    {setup}
    state, loss = step(None, 1, 2)
    rule.zero_grads()
    loss.backward()
    loss.unchain_backward()
    rule.clip_grads(5)
    rule.update()
    print(np.exp(cuda.to_cpu(loss.data)))
'''

# 1.5 to 1.10: chains of links, a custom loop.
CHAINS = '''
    import chainer
    from chainer import cuda, optimizers, serializers
    import chainer.links as L
    import net

    lm = net.Model(9, 5)
    model = L.Classifier(lm)
    model.compute_accuracy = False
    for param in model.params():
        param.data[:] = 0
    cuda.get_device(0).use()
    rule = optimizers.SGD(lr=1.)
    rule.setup(model)
    rule.add_hook(chainer.optimizer.GradientClipping(5))

    def evaluate(words):
        copied = model.copy()
        copied.predictor.reset_state()
        copied.predictor.train = False
        return copied(chainer.Variable(words, volatile='on'),
                      chainer.Variable(words, volatile='on'))

    model.zerograds()
    loss = model(chainer.Variable(1), chainer.Variable(2))
    loss.backward()
    loss.unchain_backward()
    rule.update()
    {save}('model', model)
'''
NET = '''
    import chainer
    import chainer.functions as F
    import chainer.links as L

    class Model(chainer.Chain):

        def __init__(self, n_vocab, n_units, train=True):
            super(Model, self).__init__(
                embed=L.EmbedID(n_vocab, n_units), l1=L.LSTM(n_units, n_units),
                l2=L.Linear(n_units, n_vocab))
            self.train = train

        def reset_state(self):
            self.l1.reset_state()

        def __call__(self, x):
            return self.l2(F.dropout(self.l1(self.embed(x)), train=self.train))
'''

# From 1.11 on: the trainer.
TRAINER = '''
    import chainer
    import chainer.functions as F
    import chainer.links as L
    from chainer import training
    from chainer.training import extensions

    class Model(chainer.Chain):

        def __init__(self, n_vocab, n_units, train=True):
            {links}

        def reset_state(self):
            self.l1.reset_state()

        def {call}(self, x):
            return self.l2(F.dropout(self.l1(self.embed(x)){flag}))

    class Windows(chainer.dataset.Iterator):
        epoch = 0

    class Updater(training.{updater}):

        def update_core(self):
            loss = 0
            optimizer = self.get_optimizer('main')
            for _ in range(35):
                batch = self.get_iterator('main').next()
                x, t = self.converter(batch, self.device)
                loss += optimizer.target(chainer.Variable(x), chainer.Variable(t))
            optimizer.target.cleargrads()
            loss.backward()
            loss.unchain_backward()
            optimizer.update()

    train, val, test = chainer.datasets.get_ptb_words()
    model = L.Classifier(Model(9, 5))
    model.compute_accuracy = False
    {device}
    optimizer = chainer.optimizers.SGD(lr=1.0)
    optimizer.setup(model)
    optimizer.add_hook(chainer.{hooks}.GradientClipping(5))
    trainer = training.Trainer(Updater(Windows(), optimizer), (1, 'epoch'), out='a')
    trainer.extend(extensions.Evaluator(Windows(), model.copy(), device=0))
    trainer.extend(extensions.LogReport(trigger=(500, 'iteration')))
    trainer.extend(extensions.snapshot())
    chainer.serializers.load_npz('a', trainer)
    trainer.run()
'''
OLD = dict(
    links='super(Model, self).__init__(embed=L.EmbedID(n_vocab, n_units), '
          'l1=L.LSTM(n_units, n_units), l2=L.Linear(n_units, n_vocab))',
    call='__call__', flag=', train=self.train', updater='StandardUpdater',
    device='chainer.cuda.get_device(0).use()', hooks='optimizer')
LATEST_OLD = dict(OLD, device='chainer.cuda.get_device_from_id(0).use()')
NEW = dict(
    LATEST_OLD, flag='',
    links='super(Model, self).__init__()\n'
          '            with self.init_scope():\n'
          '                self.embed = L.EmbedID(n_vocab, n_units)\n'
          '                self.l1 = L.LSTM(n_units, n_units)\n'
          '                self.l2 = L.Linear(n_units, n_vocab)')
HOOKS = dict(NEW, hooks='optimizer_hooks', updater='updaters.StandardUpdater')
DEVICES = dict(HOOKS, call='forward',
               device='device = chainer.get_device(0)\n    device.use()\n'
                      '    model.to_device(device)')


@pytest.mark.parametrize('release, text, first, last', [
    ('1.1.0', FUNCTIONS.format(start='cuda.init(0)\n    for array in model.parameters: '
                                     'array[:] = 0',
                               setup='rule.setup(model.collect_parameters())'),
     '1.0', '1.24'),
    ('1.3.0', FUNCTIONS.format(start='cuda.get_device(0).use()\n    xp = cuda.cupy',
                               setup='rule.setup(model)'), '1.3', '1.24'),
    ('1.5.0', CHAINS.format(save='serializers.save_hdf5'), '1.5', '1.24'),
    ('1.7.0', CHAINS.format(save='serializers.save_npz'), '1.6', '1.24'),
    ('1.10.0', CHAINS.format(save='serializers.save_npz'), '1.6', '1.24'),
    ('1.11.0', TRAINER.format(**OLD).replace('cleargrads', 'zerograds'),
     '1.11', '1.24'),
    ('1.17.0', TRAINER.format(**OLD), '1.11', '1.24'),
    ('1.24.0', TRAINER.format(**LATEST_OLD), '1.23', '1.24'),
    ('2.0.0', TRAINER.format(**NEW), '2.0', '7.8.1'),
    ('4.0.0', TRAINER.format(**HOOKS), '4.0', '7.8.1'),
    ('6.0.0', TRAINER.format(**DEVICES), '6.0', '7.8.1'),
    ('7.8.1', TRAINER.format(**DEVICES) + '    chainer.as_array(1)\n',
     '7.0', '7.8.1'),
])
def test_release_of_a_language_model(release, text, first, last, tmp_path):
    (tmp_path / 'net.py').write_text(textwrap.dedent(NET))
    path = tmp_path / 'script.py'
    path.write_text(textwrap.dedent(text))
    found = verdict.of_script(str(path), source.parse(str(path)))
    assert found.releases == f'{first} to {last}', found
    assert found.api == ('v1' if release < '2' else 'v2')
    assert 'though' not in found.reason
    version, table = releases.as_tuple(release), releases.load()
    assert table.named(first)[:2] <= version <= table.named(last)
