"""Custom optimizers, parameters that were arrays, and Caffe, as in v1."""
import json

SIGNED = '''
    import json
    import chainer
    from chainer import cuda, optimizers
    import chainer.functions as F
    import chainer.links as L
    import numpy as np

    class Signed(chainer.optimizer.{base}):
        def __init__(self, rate=.5):  # calls no other
            self.rate = rate

        @property
        def lr(self):
            return self.rate / self.t

        {methods}

    model = L.Linear(2, 1)
    model.W.data[...], model.b.data[...] = [[1, 2]], 3
    rule = Signed()
    rule.setup(model)
    for k in range(3):
        model.zerograds()
        F.sum(model(chainer.Variable(np.array([[1, -1]], dtype='f')))).backward()
        rule.update()
    print(json.dumps([np.asarray(model.W.data).tolist(), model.b.data.tolist(),
                      {seen}]))
'''


def test_update_one_of_a_gradient_method(script):
    lines = SIGNED.format(base='GradientMethod', seen="model.b.update_rule.state['n']",
                          methods='''
        def init_state(self, param, state):
            state['n'] = 10

        def update_one_cpu(self, param, state):
            state['n'] += 1
            param.data -= self.lr * np.sign(param.grad)

        def update_one_gpu(self, param, state):
            raise NotImplementedError''')
    steps = .5 + .25 + .5 / 3
    w, b, n = json.loads(script(lines, api='1.24'))
    assert abs(w[0][0] - (1 - steps)) + abs(w[0][1] - (2 + steps)) < 1e-6
    assert abs(b[0] - (3 - steps)) < 1e-6 and n == 13


def test_update_one_until_1_4_gets_arrays(script):
    lines = SIGNED.format(base='Optimizer', seen='''[
        (type(p).__name__, type(g).__name__, s.tolist())
        for p, g, s in [(p, g, s['state']) for p, g, s in rule.tuples]]''',
                          methods='''
        def init_state_cpu(self, param, grad):
            return np.zeros_like(param)

        def update_one(self, param, grad, state):
            state += abs(grad)
            param -= self.lr * np.sign(grad)''')
    steps = .5 + .25 + .5 / 3
    w, b, seen = json.loads(script(lines, api='1.4'))
    assert abs(w[0][0] - (1 - steps)) + abs(w[0][1] - (2 + steps)) < 1e-6
    assert sorted(seen, key=str) == [['ndarray', 'ndarray', [3.0]],
                                     ['ndarray', 'ndarray', [[3.0, 3.0]]]]


def test_a_method_put_into_a_stock_optimizer_is_called(script):
    """It is not silently ignored, and gets the state of its base class."""
    assert json.loads(script('''
        import json
        import chainer, chainer.links as L, numpy as np

        class Half(chainer.optimizers.MomentumSGD):
            def prepare(self):  # before each update
                super(Half, self).prepare()
                self.lr = .5

            def update_one_cpu(self, param, state):
                state['v'] += 1
                param.data[...] = state['v'] * self.lr

        model = L.Linear(1, 1)
        rule = Half(lr=9)
        rule.setup(model)
        for k in range(3):
            model.zerograds()
            rule.update()
        print(json.dumps(model.b.data.tolist()))
    ''', api='1.24')) == [1.5]


def test_a_parameter_was_an_array_until_1_4(script):
    lines = '''
        import json
        import chainer, chainer.functions as F, numpy as np
        model = chainer.FunctionSet(l=F.Linear(2, 2), p=F.Parameter(np.ones(2, 'f')))
        model.l.W[...] = np.arange(4).reshape(2, 2)
        row, x = model.l.W[1], np.array([1., 10.], dtype='f')
        z = row[0] * x + row[1]
        z[z > 9] = 0
        model.l.W *= 2
        y = F.sum(model.p() * chainer.Variable(x))
        model.p.W.grad = np.zeros(2, 'f')
        y.backward()
        print(json.dumps([z.tolist(), float(model.l.W.max()),
                          bool((model.l.W > 5).any()), (1 - model.l.W)[0, 1].tolist(),
                          model.p.gW.tolist()]))
    '''
    assert json.loads(script(lines, api='1.4')) == [[5, 0], 6, True, -1, [1, 10]]
    assert 'Error' in script(lines, status=1, api='1.24')


def test_a_name_of_another_release_is_explained(script):
    err = script('import chainer\nfrom chainer import ON', status=1)
    assert 'script.py:2: from chainer import ON' in err
    assert 'chainer.ON existed in Chainer 1.5 to 1.24.' in err
    err = script('import chainer\nchainer.FunctionSet()', status=1)
    assert 'chainer.FunctionSet existed in Chainer 1.0 to 1.24.  Instead: ' in err
    for api in '1.24', '4.5', 'v2':
        err = script('import chainer.functions as F\nF.Sigmoid()', status=1, api=api)
        assert 'removed in Chainer 5.0' in err and 'the function sigmoid' in err
    err = script('import chainer\nchainer.nothing_of_the_kind', status=1)
    assert 'existed in' not in err


def test_caffe_in_its_old_place(script):
    """With a fake module in place of the one that needs an old protobuf."""
    assert json.loads(script("""
        import json, sys, types
        import chainer

        class Stub:
            def forward(self, inputs, outputs, disable=()):
                return [inputs, disable, chainer.config.train]

        sys.modules['chainer.links.caffe'] = types.ModuleType('chainer.links.caffe')
        sys.modules['chainer.links.caffe'].CaffeFunction = Stub
        from chainer.functions import caffe
        from chainer.links import caffe as same
        made = same.CaffeFunction()
        print(json.dumps([made.forward(1, 2, train=False), made.forward(1, 2, ['a'])]))
    """, api='1.24')) == [[1, [], False], [1, ['a'], True]]
