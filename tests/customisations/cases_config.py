"""Customisations: the evaluation, the configuration, dropout and random numbers."""
import chainer
from chainer import functions as F
import numpy

from tests.customisations.world import custom


@custom('trainer')
def evaluated_on_the_model_itself(w):
    """Its state is in another's place afterwards, so that it begins anew."""
    w.evaluator._targets['main'] = w.target
    w.evaluator.eval_hook = lambda _: w.target.predictor.reset_state()
    w.every(lambda: w.target.predictor.reset_state(), 3)


@custom('trainer')
def evaluated_with_a_function(w):
    w.evaluator.eval_func = w.evaluated


@custom('trainer')
def evaluated_with_a_hook(w):
    hook = w.evaluator.eval_hook

    def both(evaluator):
        if hook:
            hook(evaluator)
        w.evaluated.predictor.l3.b.array += .1
    w.evaluator.eval_hook = both


@custom('trainer')
def evaluated_with_accuracy(w):
    w.evaluated.compute_accuracy = True


@custom('trainer')
def evaluated_with_another_loss(w):
    w.evaluated.lossfun = lambda y, t: 2 * F.softmax_cross_entropy(y, t)


@custom('trainer')
def evaluated_every_window(w):
    w.trainer.extend(w.evaluator, name='again', trigger=(1, 'iteration'))


def _config(name, value):
    def apply(w):
        w.enter(chainer.using_config(name, value))
    apply.__name__ = f'config_{name}'
    custom('optimizer' if name != 'dtype' else 'classes')(apply)


_config('train', False)
_config('debug', True)
_config('keep_graph_on_report', True)
_config('lazy_grad_sum', True)
_config('type_check', False)
_config('dtype', numpy.dtype('d'))
_config('cudnn_deterministic', True)
_config('use_static_graph', False)


@custom('trainer')
def dropout_off_mid_run(w):
    w.at(3, lambda: w.enter(chainer.using_config('train', False)))


@custom('classes')
def dropout_ratio_falls(w):
    class Mine(w.Model):
        ratio = .5
        steps = 0

        def forward(self, x):
            if chainer.config.train:
                self.steps += 1
                self.ratio = .5 * .99 ** self.steps
            h = self.l1(F.dropout(self.embed(x), self.ratio))
            return self.l3(F.dropout(self.l2(F.dropout(h, self.ratio)), self.ratio))

    w.Model = Mine


@custom('trainer')
def dropout_ratio_set(w):
    """An attribute that only models with one of their own look at."""
    w.every(lambda: setattr(w.model, 'ratio', .9 * getattr(w.model, 'ratio', .5)))


@custom('trainer')
def random_stream_seeded_each_window(w):
    w.every(lambda: numpy.random.seed(w.updater.iteration))


@custom('trainer')
def random_numbers_drawn_each_window(w):
    w.every(lambda: w.log('drawn', numpy.random.rand()))
