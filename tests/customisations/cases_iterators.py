"""Customisations: texts, iterators and updaters."""
import array

import chainer
import numpy

from tests.customisations.world import TEXT_LENGTH, V, custom


@custom('classes')
def text_int64(w):
    w.text, w.valid = w.text.astype('l'), w.valid.astype('l')


@custom('classes')
def text_int16(w):
    w.text = w.text.astype('h')


@custom('classes')
def text_int8(w):
    w.text = w.text.astype('b')


@custom('classes')
def text_list(w):
    w.text, w.valid = w.text.tolist(), w.valid.tolist()


@custom('classes')
def text_tuple(w):
    w.text = tuple(w.text.tolist())


@custom('classes')
def text_array_array(w):
    w.text = array.array('i', w.text.tolist())


@custom('classes')
def text_list_of_numpy_ints(w):
    w.text = list(w.text)


@custom('classes')
def text_read_only(w):
    w.text.flags.writeable = False


@custom('classes')
def text_strided(w):
    w.text = numpy.repeat(w.text, 2)[::2]


@custom('classes')
def text_swapped_bytes(w):
    w.text = w.text.astype('>i4')


@custom('classes')
def text_own_sequence(w):
    class Text:
        def __init__(self, words):
            self.words = words

        def __len__(self):
            return len(self.words)

        def __getitem__(self, k):
            if not 0 <= k < len(self.words):
                raise IndexError(k)
            return numpy.int32(self.words[k])
    w.text, w.valid = Text(w.text), Text(w.valid)


@custom('classes')
def text_own_sequence_that_changes(w):
    """Unknown words come up at random, at each reading anew."""
    class Text:
        def __init__(self, words):
            self.words, self.random = words, numpy.random.RandomState(3)

        def __len__(self):
            return len(self.words)

        def __getitem__(self, k):
            word = self.words[k]
            return numpy.int32(0 if self.random.rand() < .2 else word)
    w.text = Text(w.text)


@custom('classes')
def text_transform_dataset(w):
    w.text = chainer.datasets.TransformDataset(
        w.text, lambda word: numpy.int32((word + 1) % V))


@custom('classes')
def text_sub_dataset(w):
    w.text = chainer.datasets.SubDataset(w.text, 3, TEXT_LENGTH - 2)


@custom('classes')
def text_memmap(w):
    import os
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'text')
        w.text.tofile(path)
        w.text = numpy.memmap(path, 'i', 'c')


@custom('classes')
def text_of_one_word(w):
    w.text = numpy.zeros(TEXT_LENGTH, 'i')


@custom('classes')
def text_shorter_than_streams(w):
    w.text = w.text[:2]


@custom('classes')
def text_shorter_than_window(w):
    w.text = w.text[:5]


@custom('classes')
def text_with_minus_one(w):
    w.text[::5] = -1


@custom('classes')
def valid_with_minus_one(w):
    w.valid[3] = -1


@custom('classes')
def valid_of_one_word(w):
    w.valid = w.valid[:1]


@custom('classes')
def one_stream(w):
    w.streams = 1


@custom('classes')
def window_of_one_step(w):
    w.bprop_len, w.windows = 1, 9


@custom('classes')
def device_none(w):
    w.device = None


@custom('classes')
def device_as_text(w):
    w.device = chainer.get_device('@numpy')


@custom('trainer')
def text_changed_in_place(w):
    text = w.iterator.dataset
    w.at(2, lambda: text.__setitem__(slice(None), text[::-1].copy()))


@custom('trainer')
def text_changed_in_place_each_epoch(w):
    text = w.iterator.dataset
    random = numpy.random.RandomState(4)
    w.trainer.extend(lambda _: random.shuffle(text), name='shuffle',
                     trigger=(1, 'epoch'))


@custom('trainer')
def text_rebound(w):
    def rebind():
        w.iterator.dataset = numpy.array(w.iterator.dataset)[::-1].copy()
    w.at(2, rebind)


@custom('trainer')
def text_rebound_longer(w):
    def rebind():
        old = numpy.array(w.iterator.dataset)
        w.iterator.dataset = numpy.concatenate([old[::-1], old])
    w.at(3, rebind)


@custom('trainer')
def text_grows(w):
    w.iterator.dataset = list(w.iterator.dataset)
    w.every(lambda: w.iterator.dataset.append(1))


@custom('trainer')
def offsets_changed(w):
    w.iterator.offsets = [3 * k % TEXT_LENGTH for k in range(w.streams)]


@custom('trainer')
def offsets_changed_in_place(w):
    w.at(2, lambda: w.iterator.offsets.__setitem__(0, 9))


@custom('trainer')
def offsets_random_each_epoch(w):
    random = numpy.random.RandomState(4)

    def shift():
        w.iterator.offsets = [
            (k + random.randint(5)) % TEXT_LENGTH for k in w.iterator.offsets]
    w.every(shift, 2)


@custom('trainer')
def iteration_set(w):
    w.at(2, lambda: setattr(w.iterator, 'iteration', 1))


@custom('trainer')
def iterator_reset_mid_run(w):
    w.at(3, lambda: w.iterator.reset())


@custom('trainer')
def step_read_by_extension(w):
    w.at(2, lambda: w.log('read', next(w.iterator)))


@custom('trainer')
def get_words_called(w):
    w.every(lambda: w.log('words', w.iterator.get_words()))


@custom('trainer')
def next_on_instance(w):
    following = w.iterator.__next__
    w.iterator.__next__ = lambda: [(t, x) for x, t in following()]


@custom('trainer')
def get_words_on_instance(w):
    get_words = w.iterator.get_words
    w.iterator.get_words = lambda: [(word + 1) % V for word in get_words()]


@custom('classes')
def next_overridden(w):
    class Mine(w.Iterator):
        def __next__(self):
            return [(t, x) for x, t in super().__next__()]
    w.Iterator = Mine


@custom('classes')
def next_overridden_with_noise(w):
    class Mine(w.Iterator):
        def __next__(self):
            return [(numpy.int32(0) if numpy.random.rand() < .1 else x, t)
                    for x, t in super().__next__()]
    w.Iterator = Mine


@custom('classes')
def next_overridden_shuffles(w):
    class Mine(w.Iterator):
        def __next__(self):
            batch = super().__next__()
            if self.is_new_epoch and self.repeat:
                self.dataset = numpy.array(self.dataset)[::-1].copy()
            return batch
    w.Iterator = Mine


@custom('classes')
def get_words_overridden(w):
    class Mine(w.Iterator):
        def get_words(self):
            return [(word + 1) % V for word in super().get_words()]
    w.Iterator = Mine


@custom('classes')
def get_words_overridden_without_super(w):
    class Mine(w.Iterator):
        def get_words(self):
            n = len(self.dataset)
            return [self.dataset[(start - self.iteration) % n]
                    for start in self.offsets]
    w.Iterator = Mine


@custom('classes')
def iterator_init_overridden(w):
    class Mine(w.Iterator):
        def __init__(self, dataset, batch_size, repeat=True):
            super().__init__(dataset, batch_size, repeat)
            self.offsets = [start + 1 for start in self.offsets]
    w.Iterator = Mine


@custom('classes')
def iterator_reset_overridden(w):
    class Mine(w.Iterator):
        def reset(self):
            super().reset()
            self.iteration = 2
    w.Iterator = Mine


@custom('classes')
def iterator_serialize_overridden(w):
    class Mine(w.Iterator):
        def serialize(self, serializer):
            super().serialize(serializer)
            self.offsets = [int(k) for k in serializer(
                'offsets', numpy.array(self.offsets))]
    w.Iterator = Mine


@custom('classes')
def own_iterator(w):
    class Mine(chainer.dataset.Iterator):
        """Pairs at random places; nothing but what an updater needs."""
        epoch, is_new_epoch, previous_epoch_detail = 0, False, None

        def __init__(self, words, batch_size, repeat=True):
            self.words, self.dataset, self.n = words, words, 0
            self.batch_size, self.repeat = batch_size, repeat

        def reset(self):
            self.n = 0

        @property
        def epoch_detail(self):
            return self.n / len(self.words)

        def __next__(self):
            if not self.repeat and self.n >= len(self.words) - 1:
                raise StopIteration
            self.n += 1
            at = [(5 * self.n * b + self.n) % (len(self.words) - 1)
                  for b in range(self.batch_size)]
            return [(self.words[k], self.words[k + 1]) for k in at]

        def serialize(self, serializer):
            self.n = serializer('n', self.n)
    w.Iterator = Mine


@custom('classes')
def serial_iterator(w):
    def make(words, batch_size, repeat=True):
        pairs = list(zip(words, list(words)[1:]))
        return chainer.iterators.SerialIterator(
            pairs, batch_size, repeat=repeat, shuffle=False)
    w.Iterator = make


@custom('classes')
def serial_iterator_shuffled(w):
    def make(words, batch_size, repeat=True):
        pairs = list(zip(words, list(words)[1:]))
        return chainer.iterators.SerialIterator(
            pairs, batch_size, repeat=repeat, shuffle=repeat)
    w.Iterator = make
