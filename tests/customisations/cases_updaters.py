"""Customisations: updaters, their windows and what they tell."""
import copy

from chainer.dataset import convert
import numpy

from tests.customisations.world import STREAMS, V, custom


@custom('trainer')
def converter_shifts_words(w):
    def converter(batch, device=None, padding=None):
        x, t = convert.concat_examples(batch, device)
        return (x + 1) % V, t
    w.updater.converter = converter


@custom('trainer')
def bprop_len_changed(w):
    w.at(2, lambda: setattr(w.updater, 'bprop_len', 2))


@custom('trainer')
def bprop_len_grows(w):
    w.every(lambda: setattr(w.updater, 'bprop_len', 1 + w.updater.bprop_len))


@custom('classes')
def update_core_overridden(w):
    class Mine(w.Updater):
        def update_core(self):
            self.bprop_len = 2 + self.iteration % 3
            super().update_core()
            w.log('iterator', self.get_iterator('main').iteration)
    w.Updater = Mine


@custom('trainer')
def update_on_instance(w):
    update = w.updater.update

    def logged():
        update()
        w.log('b', w.model.l3.b)
    w.updater.update = logged


@custom('trainer')
def epoch_trigger(w):
    w.trainer.extend(lambda _: w.log('epoch', w.updater.iteration), name='epoch',
                     trigger=(1, 'epoch'))


@custom('trainer')
def epoch_detail_seen(w):
    w.every(lambda: w.log('detail', [w.updater.epoch, w.updater.epoch_detail]))


@custom('trainer')
def streams_reduced(w):
    """Less text is read at once from here on: the links can do that."""
    def fewer():
        w.iterator.offsets = w.iterator.offsets[:STREAMS - 1]
    w.at(3, fewer)


@custom('trainer')
def converter_returns_an_array(w):
    w.updater.converter = lambda batch, device=None: numpy.asarray(batch, 'i').T


@custom('trainer')
def converter_returns_a_generator(w):
    w.updater.converter = lambda batch, device=None: (
        numpy.asarray(words, 'i') for words in zip(*batch))


@custom('trainer')
def converter_copied(w):
    """The copy of Chainer's default converter is still the default."""
    w.updater.converter = copy.deepcopy(w.updater.converter)
