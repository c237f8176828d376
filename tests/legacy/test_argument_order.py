"""Arguments that stand in another place since an old release.

A positional argument would silently get another meaning, so each such function has a
row in the table of old names, or a reason why it needs none.
"""
import re

import pytest

from rnnlm.legacy import releases, table

PUBLIC = re.compile(
    r'chainer\.(functions\.\w+|links\.\w+\.\w+|serializers\.\w+(\.\w+)?'
    r'|(optimizers|optimizer_hooks|initializers|iterators|datasets)\.\w+(\.\w+)?'
    r'|training(\.\w+){1,3}'
    r'|(Variable|Parameter|Link|Chain|ChainList|Optimizer|GradientMethod)\.\w+)')

# The same argument in the same place, with another name.
RENAMED = {
    ('n_fold', 'n_folds'), ('filename', 'file'), ('log_name', 'filename'),
    ('file_name', 'filename'), ('patients', 'patience'), ('i', 'i_or_filename'),
    ('x', 'self')}

NO_ROW = {
    'chainer.Optimizer.setup': 'arrays of 1.4 and older are accepted (optimizers.py)',
    'chainer.functions.linear': 'its last three were never used',
    'chainer.functions.spatial_pyramid_pooling_2d': 'a class is refused',
    'chainer.functions.spatial_transformer_grid': 'a third argument is refused',
    'chainer.functions.spatial_transformer_sampler': 'a third argument is refused',
    'chainer.initializers.Constant.__init__': 'the table lacks the first of two forms',
    'chainer.initializers.DownsamplingConvFilter.__init__': 'as Constant',
    'chainer.initializers.UpsamplingDeconvFilter.__init__': 'as Constant',
    'chainer.links.BatchRenormalization.__init__': 'only its eleventh, of 3.0 to 4.5',
    'chainer.links.GoogLeNet.extract': 'a fourth argument is refused'}


def moved():
    """Paths whose arguments by position differ between an old and the last release."""
    known = releases.load()
    last = 1 << len(known.versions) - 1
    for path, entries in known.entries.items():
        called = [(entry.releases, releases.parameters(entry.what)[0])
                  for entry in entries if entry.what.startswith('(')]
        now = next((names for when, names in called if when & last), None)
        if now is None or not PUBLIC.fullmatch(path):
            continue
        for _, names in called:
            alike = [one for one in zip(names, now)
                     if one[0] == one[1] or one in RENAMED]
            if len(alike) < len(names):
                yield path


def test_moved_arguments_have_a_row():
    rows = {row.name.replace('chainer.link.', 'chainer.') for row in table.ROWS}
    found = set(moved())
    assert found - rows == set(NO_ROW)
    assert len(found & rows) > 40


def test_they_mean_what_they_meant(run):
    assert run('''
        x = np.arange(150).reshape(2, 3, 5, 5).astype('f')
        W = np.ones((4, 3, 3, 3), 'f')
        link = L.DilatedConvolution2D(3, 4, 3, 1, 0, 2, 4., 0.5)
        print(json.dumps([
            L.ConvolutionND(2, 3, 4, 3).b,
            L.DeconvolutionND(2, 3, 4, 3).b.data.tolist(),
            L.ConvolutionND(2, 3, 4, 3, 1, 0, None, 1.).b.data.tolist(),
            link.b.data.tolist(), link(x).data.shape,
            F.dilated_convolution_2d(x, W, None, 1, 0, 1, False, True).data.shape,
            F.convolution_nd(x, W, None, 2, 0, False, True).data.shape,
            F.max_pooling_nd(x, 2, 2, 0, False, True).data.shape,
            F.average_pooling_nd(x, 2, 2, 0, False).data.shape]))
    ''') == [  # as printed by 1.24.0
        None, [0] * 4, [1] * 4, [0.5] * 4, [2, 4, 1, 1], [2, 4, 3, 3], [2, 4, 2, 2],
        [2, 3, 2, 2], [2, 3, 2, 2]]


@pytest.mark.slow
@pytest.mark.parametrize('api, what, expected', [
    ('1.13', '[L.BatchNormalization(2).eps, L.BatchNormalization(2, .9, .1).eps]',
     [1e-5, 0.1]),
    ('1.14', 'L.BatchNormalization(2).eps', 2e-5),
    ('1.13', 'F.fixed_batch_normalization(np.ones((1, 1), "f"), *np.array('
             '[[1], [0], [0], [0]], "f")).data.item()', pytest.approx(1e5 ** 0.5)),
    ('1.8', 'L.EmbedID(3, 2, -1).ignore_label', -1),
    ('1.9', 'L.EmbedID(3, 2, None, -1).ignore_label', -1),
    ('1.2', 'chainer.optimizers.Adam(.1, .9, .9, 1 - 1e-8, 1e-3).eps', 1e-3),
    ('1.2', 'chainer.optimizers.Adam(lam=1 - 1e-8, eps=1e-3).eps', 1e-3),
    ('1.3', 'chainer.optimizers.Adam(.1, .9, .9, 1e-3).eps', 1e-3)])
def test_by_the_release(run, api, what, expected):
    assert run(f'print(json.dumps({what}))', api) == expected


def test_a_value_that_has_no_effect_any_more_is_refused(run):
    assert 'expected lam=1 - 1e-8' in run(
        'chainer.optimizers.Adam(lam=0.5)', '1.2', status=1)
